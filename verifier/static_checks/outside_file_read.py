"""Files read by a path that leads out of the folder: code, weights, caches, tables not shipped."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.reading.called_names import NamedCall, literal_text, named_calls
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_READERS = (
    *("open", "io.open", "numpy.load", "numpy.fromfile", "numpy.memmap", "numpy.loadtxt"),
    *("np.load", "np.fromfile", "np.memmap", "torch.load", "safetensors.torch.load_file"),
    *("pickle.load", "joblib.load", "ctypes.CDLL", "torch.ops.load_library", "pathlib.Path"),
)
_CONTENT = re.compile(
    r"(?i)\.(?:pt|pth|ptz|bin|npy|npz|pkl|safetensors|ckpt|so|parquet|zst|xz|gz)$"
)
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/usr/", "/etc/", "/opt/", "/lib")
_DATA = re.compile(r"(?i)fineweb|tokenizer|datasets?/|shard")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Data and tokenizer are handed to the run from outside and are no finding."""
    findings = tuple(found for module in case.program.modules for found in _findings(module))
    findings += tuple(
        Finding(message=code.reason, file=code.file, line=code.line)
        for code in case.program.opaque
        if code.kind == "outside"
    )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=findings)


def _findings(module: Module) -> Iterator[Finding]:
    texts = Counter(c.value for c in module.of_kind(ast.Constant) if isinstance(c.value, str))
    for call in named_calls(module):
        path = _outside_path(call) if call.name in _READERS else None
        if path is None:
            continue
        # What the script names more than once it may have written itself.
        is_temporary = path.startswith(("/tmp/", "/dev/shm/")) and texts[path] > 1
        if not is_temporary:
            yield call.finding(f"reads {path!r}, which is not in the folder")


def _outside_path(call: NamedCall) -> str | None:
    """The literal path of a file with content that is read from elsewhere."""
    path = literal_text(call.node.args[0]) if call.node.args else None
    mode = call.text_argument(1, "mode") or "r"
    if path is None or mode[:1] in ("w", "a", "x") or path.startswith(_SYSTEM):
        return None
    leads_out = path.startswith(("/", "~/")) or ".." in PurePosixPath(path).parts
    if not leads_out or _DATA.search(path) or not _CONTENT.search(path):
        return None
    return path
