"""What single lines of public training logs mean: text → figures, without memory.

Patterns are anchored and bounded, so that no line costs more than a time linear in its length.
Line shapes: the baseline script of the challenge, its later generations and the ternary one.
"""

import math
import re
from dataclasses import dataclass, replace

_INT = r"\d{1,18}"
_GROUPED = r"\d{1,3}(?:,\d{3}){1,4}"
_FLOAT = r"(?:-?\d{1,15}(?:\.\d{1,17})?(?:e[+-]?\d{1,3})?|[+-]?nan|[+-]?inf)"
_WORD = re.compile(r"\w+")
# A unix time, a bracketed clock, or the rank that torchrun puts before what a process prints.
_STAMP = re.compile(
    r"\d{9,11}\.\d{1,9} |\[(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\] (?:INFO: )?|\[default\d{1,4}\]:"
)
_SOURCE_START = re.compile(
    r"""import [\w., ]+$|from [\w.]+ import |def \w+\(|class \w+[(:]|\"""|'''"""
)
_SOURCE_END = re.compile(rf"={{20,}}$|Running Py|(?:step:)?{_INT}/{_INT} ")
_DUMPED = re.compile(r"  ([A-Za-z_]\w{0,80}): ?(.*)")
_ASSIGNED = re.compile(r"(?:^| )([A-Za-z_]\w{0,80})=")
_NAMED = re.compile(r"(?:^| )([A-Za-z_]\w{0,80}):")
_SETTINGS_WORDS = ("attention_mode", "tie_embeddings", "train_batch_tokens", "world_size")
_STEP = re.compile(rf"(?:step:)?({_INT})/({_INT}) ")
_TRAIN_LOSS = re.compile(rf"(?<![\w.])(?:train_)?loss: ?({_FLOAT})(?= |$)")
_STEP_CLOCK = re.compile(rf" (?:train_time|t): ?({_FLOAT})(ms|m|s)\b")
_LOSS_AND_BPB = re.compile(
    rf"(?<!\w)val_loss[:=] ?({_FLOAT})[ ,|]{{1,3}}val_bpb[:=] ?({_FLOAT})(?![\w.])"
)
_EVAL_CLOCK = re.compile(rf" (?:eval_time|eval|time|elapsed|t)[:=] ?({_FLOAT})(ms|s)\b")
_BPB_ALONE = re.compile(rf"(?<![\w,])val_bpb ?[:=] ?({_FLOAT})(?![\w.])")
# `Quantized BPB (no XSA): 1.0276`, `ttt:vl=0.7016 bpb=0.4155 t=47.3s`: by another name.
_OTHER_BPB = re.compile(
    r"(?i)(?<![a-z])(?:\w{0,60}_)?bpb(?: \([^()]{1,40}\))?[\"']?\s{0,12}[:=]\s{0,12}"
    r"(\d{1,3}\.\d{3,17})(?![\w.])"
)
_SCORED_TOKENS = re.compile(rf" (?:scored|eval)_tokens[:=] ?({_INT})(?![\w.])")
# On the way to a score, or about another one.
_IN_PASSING = re.compile(
    r"(?i)\d/\d|[%{}]|search|sweep|trial|\b(?:steps?|epoch|chunk|running|best|previous|mean|average|baseline|target|vs)\b"
)
_LABEL = re.compile(r"[A-Za-z][\w+.:()-]{0,99}(?: [\w+.-]{1,40}){0,4}")
_LOOKS_FINAL = re.compile(r"(?i)val_bpb[\"']?\s?[:=]\s?\d|^final\w{0,80}[ :].{0,100}\d\.\d")
_DIAGNOSTIC = re.compile(r"(?i)diagnostic|pre.?quant|post.?ema|^\W*ema\b")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0}
# Gathering data for the quantiser, not quantising; not every script prints how long it takes.
_CALIBRATING = (
    r"(?:hessians )?(?:generated|collected|calibrated|done)\b.{0,100} (?:in |time=|elapsed=)"
    r"(?P<calibration_seconds>" + _FLOAT + r")s\b"
    r"|(?P<calibration_data>(?:collect|generat|calibrat|using )[^{}=]{0,20}"
    r"(?:hessians|data|calibrat|with \d)[^{}=]{0,80})"
)

# First word of a line → its pattern. A group names the field that it fills; `_ms` is converted.
_PATTERNS = {
    word: re.compile(pattern)
    for word, pattern in {
        "seed": rf"seed: ?(?P<seed>{_INT})$",
        "world_size": rf"world_size: ?(?P<world_size>{_INT})\b",
        "params": rf"params:.{{0,200}} ws:(?P<world_size>{_INT}) .{{0,40}}\bs:(?P<seed>{_INT})$",
        "train_shards": rf"train_shards: ?(?P<train_shards>{_INT})$",
        "train_loader": rf"train_loader:\S+ train_shards:(?P<train_shards>{_INT})\b"
        rf"(?: val_tokens:(?P<val_tokens>{_INT})$)?",
        "val_tokens": rf"val_tokens: ?(?P<val_tokens>{_INT})(?= \w+:|$)",
        "Validation": r"Validation tokens: (?P<val_tokens>\d{1,3}(?:,\d{3}){1,5})$",
        "Val": rf"Val tokens: (?P<val_tokens>{_GROUPED}|{_INT})$",
        "val": rf"val(?::\S{{1,400}})? tokens: ?(?P<val_tokens>{_GROUPED}|{_INT})$",
        "eval_tokens": rf"eval_tokens[:=] ?(?P<val_tokens>{_INT})$",
        "val_loader": rf"val_loader:(?:.* )?tokens:(?P<val_tokens>{_INT})(?= \w+[:=]|$)",
        "stopping_early": rf"stopping_early: ?\S+ train_time: ?(?P<train_ms>{_INT})ms"
        rf"(?: step: ?(?P<steps>{_INT})/(?P<planned_steps>{_INT}))?",
        "peak": rf"peak memory(?: allocated)?: (?P<peak_memory_mib>{_INT}) MiB",
        # Without a codec these two lines are about the uncompressed weights.
        "Serialized": rf"Serialized model (?P<codec>\S{{1,80}}): ?(?P<model_bytes>{_INT}) ?bytes",
        "Total": rf"Total submission size \S{{1,80}}: ?(?P<total_bytes>{_INT}) ?bytes",
        "total": rf"total:(?P<total_bytes>{_INT})B$",
        "code": rf"code:(?P<code_bytes>{_INT})B$",
        "Code": rf"Code size(?: \(compressed\))?: ?(?P<code_bytes>{_INT}) ?bytes"
        rf"|Code size \(uncompressed\): ?(?P<code_bytes_uncompressed>{_INT}) bytes",
        "artifact": rf"artifact:.* code:(?P<code_bytes>{_INT})$",
        "budget": rf"budget:(?P<total_bytes>{_INT})/{_INT} ",
        "GPTQ": rf"GPTQ: ?(?:{_CALIBRATING})",
        "gptq": rf"gptq: ?(?:{_CALIBRATING})",
        "Serialize": rf"Serialize: .* done in (?P<serialize_seconds>{_FLOAT})s$",
        "serialize_wallclock": rf"serialize_wallclock: (?P<serialize_seconds>{_FLOAT})s$",
        "Deserialize": rf"Deserialize: .* done in (?P<deserialize_seconds>{_FLOAT})s$",
        "ttt_lora": rf"ttt_lora:compile warmup done \((?P<compile_warmup_seconds>{_FLOAT})s\)",
        "total_eval_time": rf"total_eval_time: ?(?P<eval_seconds>{_FLOAT})s$",
    }.items()
}
# `artifact_bytes: 15,968,912` or `export model_bytes=15968912`: a size by its name, nothing else.
_SIZE = re.compile(
    rf"(?:\w{{1,40}} )?(?!total_bytes\W{{1,9}}\d{{9}})(?:"  # of a text, so many
    rf"(?:(?:artifact|total|submission|total_submission)_bytes|bytes_total|[Aa]rtifact[ _]size)"
    rf"[:=] {{0,8}}(?P<total_bytes>{_INT}|{_GROUPED})"
    rf"|(?:model|quant)_bytes[:=] {{0,8}}(?P<model_bytes>{_INT}|{_GROUPED})"
    rf"|(?:code_bytes|bytes_code)[:=] {{0,8}}(?P<code_bytes>{_INT}|{_GROUPED})"
    rf")(?: bytes)?$"
)
_PHASE = re.compile(rf"phase:(\S{{1,80}}) seconds:({_FLOAT})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalMetric:
    """One line that reports loss and BPB over the validation set."""

    line: int
    label: str
    val_loss: float | None  # nats a token; None when what is printed is not finite, or nothing is
    val_bpb: float | None
    loss_decimals: int
    bpb_decimals: int
    eval_seconds: float | None = None
    repeats_line: int | None = None  # an earlier final line with the same figures

    @property
    def is_diagnostic(self) -> bool:
        """Whether it scores weights that are not the ones handed in."""
        return _DIAGNOSTIC.search(self.label) is not None

    def agrees_with(self, other: "FinalMetric") -> bool:
        """Whether both print the same loss, if any, and BPB, as far as the coarser of them goes."""
        bpb_decimals = min(self.bpb_decimals, other.bpb_decimals)
        if not _same(self.val_bpb, other.val_bpb, bpb_decimals):
            return False
        loss_decimals = min(self.loss_decimals, other.loss_decimals)
        no_loss = self.val_loss is None or other.val_loss is None
        return no_loss or _same(self.val_loss, other.val_loss, loss_decimals)

    def repeating(self, other: "FinalMetric") -> "FinalMetric":
        """The same line as a repetition of another, whose loss it takes where it prints none."""
        if self.val_loss is not None:
            return replace(self, repeats_line=other.line)
        loss, decimals = other.val_loss, other.loss_decimals
        return replace(self, repeats_line=other.line, val_loss=loss, loss_decimals=decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A line about one training step; None for what it does not say."""

    step: int
    planned_steps: int
    train_loss: float | None  # None on a validation's line, which may repeat it
    validation: tuple[float | None, float | None] | None  # loss in nats a token, BPB
    train_seconds: float | None
    clock_is_exact: bool  # milliseconds, not a tenth of a minute


def without_stamp(line: str) -> str:
    """The line less the time or the process's rank in front of it."""
    stamp = _STAMP.match(line)
    return line[stamp.end() :] if stamp else line


def starts_source(line: str) -> bool:
    """Whether a script printed into the log starts here (or goes on after a ruler in it)."""
    return _SOURCE_START.match(line) is not None


def ends_source(line: str) -> bool:
    """Whether a printed script is over: a ruler, or a line that only a running script prints."""
    return _SOURCE_END.match(line) is not None


def dumped_setting(line: str) -> tuple[str, str] | None:
    """The name and value of a hyperparameter dump's `  key: value`."""
    found = _DUMPED.match(line)
    return (found[1], found[2]) if found else None


def assigned_settings(line: str) -> list[tuple[str, str]]:
    """The names and values of a dump that puts `key=value key=value` on one line."""
    parts = _ASSIGNED.split(line)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def named_settings(line: str) -> list[tuple[str, str]]:
    """The names and values of the lines in which the baseline prints its `key:value` settings."""
    if not line.startswith(_SETTINGS_WORDS):
        return []
    parts = _NAMED.split(line)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def read_figures(line: str) -> dict[str, int | float | str]:
    """The figures of a line by the name of TrainingLog's field; empty for most lines."""
    word = _WORD.match(line)
    pattern = _PATTERNS.get(word[0]) if word else None
    found = pattern.match(line) if pattern else None
    if found is None and ("bytes" in line or "size" in line):
        found = _SIZE.match(line)
    figures: dict[str, int | float | str] = {}
    for name, text in found.groupdict().items() if found else ():
        if text is None:
            continue
        if name == "train_ms":
            figures["train_seconds"] = int(text) / 1000.0
        elif name in ("codec", "calibration_data"):
            figures[name] = text
        elif not name.endswith("_seconds"):
            figures[name] = int(text.replace(",", ""))
        elif (seconds := _finite(text)) is not None:
            figures[name] = seconds
    return figures


def read_phase(line: str) -> tuple[str, float] | None:
    """The name and seconds of a `phase:<name> seconds:<s>` line."""
    found = _PHASE.match(line)
    seconds = _finite(found[2]) if found else None
    return (found[1], seconds) if found and seconds is not None else None


def read_step(line: str) -> StepLine | None:
    """A step's line, of training or of a validation within it."""
    found = _STEP.match(line)
    if found is None:
        return None
    figures = _LOSS_AND_BPB.search(line)
    loss = None if figures else _TRAIN_LOSS.search(line)
    clock = _STEP_CLOCK.search(line)
    return StepLine(
        step=int(found[1]),
        planned_steps=int(found[2]),
        train_loss=_finite(loss[1]) if loss else None,
        validation=(_finite(figures[1]), _finite(figures[2])) if figures else None,
        train_seconds=_seconds(clock),
        clock_is_exact=clock is not None and clock[2] == "ms",
    )


def read_final(line: str, number: int) -> FinalMetric | None:
    """The metric that a line reports; None if it has no label or no figures."""
    figures = _LOSS_AND_BPB.search(line) or _bpb_alone(line)
    if figures is None:
        return None
    first, *others = line[: figures.start()].split() or [""]
    label = " ".join([first, *(word for word in others if ":" not in word and "=" not in word)])
    if not _LABEL.fullmatch(label):
        return None
    *loss, bpb = figures.groups()
    return FinalMetric(
        line=number,
        label=label,
        val_loss=_finite(loss[0]) if loss else None,
        val_bpb=_finite(bpb),
        loss_decimals=_decimals(loss[0]) if loss else 0,
        bpb_decimals=_decimals(bpb),
        eval_seconds=_seconds(_EVAL_CLOCK.search(line, figures.end())),
    )


def read_other_final(line: str, number: int) -> FinalMetric | None:
    """A BPB in words that only one script uses; it counts where a log has no customary line."""
    found = _OTHER_BPB.search(line)
    if found is None or _IN_PASSING.search(line[: found.start(1)].replace("_", " ")):
        return None
    return FinalMetric(
        line=number,
        label=line[: found.start(1)].strip(" :=\t")[:100],
        val_loss=None,  # whatever loss stands beside it may be of other tokens
        val_bpb=_finite(found[1]),
        loss_decimals=0,
        bpb_decimals=_decimals(found[1]),
        eval_seconds=_seconds(_EVAL_CLOCK.search(line, found.end())),
    )


def read_scored_tokens(line: str) -> int | None:
    """How many tokens a score's own line says that it is over, whatever was loaded."""
    found = _SCORED_TOKENS.search(line)
    return int(found[1]) if found else None


def _bpb_alone(line: str) -> re.Match[str] | None:
    """A BPB without a loss, in a line that says that it is final or how long it took to score."""
    found = _BPB_ALONE.search(line) if "loss" not in line else None
    if found and not line.lower().startswith(("final", "submission")):
        return found if _EVAL_CLOCK.search(line, found.end()) else None
    return found


def looks_final(line: str) -> bool:
    """Whether somebody may have meant this line as a final metric."""
    return _LOOKS_FINAL.search(line) is not None


def _seconds(clock: re.Match[str] | None) -> float | None:
    value = _finite(clock[1]) if clock else None
    return value * _SECONDS[clock[2]] if clock and value is not None else None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _decimals(text: str) -> int:
    return len(text.partition(".")[2].partition("e")[0])


def _same(one: float | None, other: float | None, decimals: int) -> bool:
    if one is None or other is None:
        return False
    # A hair above half a unit: 1.10774252 is printed as 1.1077, and floats are not exact.
    return abs(one - other) <= 0.5001 * 10.0**-decimals
