"""Weights, tables or text that come from outside of the folder and of the published data set."""

from verifier.findings import CheckResult, cannot_tell
from verifier.reading.called_names import NamedCall, named_calls
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_CORPORA = ("datasets.load_dataset", "tensorflow_datasets.load", "nltk.download", "kagglehub.")
_WEIGHTS = ("torch.hub.load", "gensim.downloader.load", "sentence_transformers.", "open_clip.")
_WEIGHT_METHODS = (".from_pretrained",)
_NO_WEIGHTS = ("Tokenizer", "Config", "Processor")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Only code that the main script reaches counts; the published data set is no finding."""
    findings = tuple(
        call.finding(f"{what} from outside, by {call.name}")
        for module in case.program.modules
        for call in named_calls(module)
        if (what := _brought_in(call)) is not None
    )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=findings)


def _brought_in(call: NamedCall) -> str | None:
    if call.name.startswith(_CORPORA):
        return f"the text {call.text_argument(0, 'path') or 'of a corpus'!r} comes"
    is_method = call.name.endswith(_WEIGHT_METHODS)
    loads_weights = is_method and not any(word in call.name for word in _NO_WEIGHTS)
    if call.name.startswith(_WEIGHTS) or loads_weights:
        return "pretrained weights come"
    return None
