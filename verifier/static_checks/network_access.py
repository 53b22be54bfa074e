"""Calls in the code of the run that reach out of the machine."""

from verifier.findings import CheckResult, cannot_tell
from verifier.reading.called_names import NamedCall, command_words, named_calls, starts_process
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_REACHES_OUT = (
    *("urllib.request.", "requests.", "httpx.", "aiohttp.", "ftplib.", "paramiko.", "boto3."),
    *("socket.create_connection", "http.client.", "smtplib.", "gdown.", "wget."),
    *("huggingface_hub.", "datasets.load_dataset", "torch.hub.load", "wandb.init"),
    *("kagglehub.", "openml.", "tensorflow_datasets.load"),
)
_OFFLINE = ("huggingface_hub.constants", "requests.exceptions", "requests.adapters")
_COMMANDS = {"curl", "wget", "scp", "rsync", "ssh", "aws", "gsutil", "pip", "pip3"}
_COMMANDS |= {"huggingface-cli", "hf", "apt", "apt-get", "conda", "uv"}
_GIT_VERBS = {"clone", "fetch", "pull", "lfs", "submodule"}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Only code that the main script reaches counts: a preparation script may download data."""
    calls = [call for module in case.program.modules for call in named_calls(module)]
    findings = tuple(
        call.finding(f"the run reaches the network by {what}")
        for call in calls
        if (what := _way_out(call)) is not None
    )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=findings)


def _way_out(call: NamedCall) -> str | None:
    if call.name.startswith(_REACHES_OUT) and not call.name.startswith(_OFFLINE):
        return call.name
    if not starts_process(call):
        return None
    words = command_words(call)
    if "git" in words:
        return "the command git" if _GIT_VERBS & set(words) else None
    return next((f"the command {word}" for word in words if word in _COMMANDS), None)
