"""Imports of the main script that neither the folder, Python nor a known package answers."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import FileKind
from verifier.reading.called_names import finding_at, literal_text
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

# Import names, most of them seen in public scripts; what is left out must be declared.
_PACKAGES = frozenset(
    "torch torchvision torchao numpy scipy pandas sklearn numba cupy einops jax jaxlib flax optax "
    "mlx triton flash_attn flash_attn_interface flash_attn_3 xformers transformer_engine "
    "liger_kernel fla mamba_ssm causal_conv1d kernels cutlass cuda pynvml deepspeed accelerate "
    "lightning bitsandbytes sentencepiece tokenizers tiktoken transformers datasets "
    "huggingface_hub safetensors peft tokenmonster zstandard brotli lz4 blosc2 constriction tqdm "
    "rich yaml requests psutil wandb tensorboard matplotlib packaging filelock typing_extensions "
    "setuptools pybind11 Cython ninja regex ml_dtypes pyarrow modal hydra omegaconf click "
    "pydantic attr attrs cffi pkg_resources".split()
)
_INSTALLS = re.compile(r"\b(?:pip3?|uv|conda) (?:pip )?(?:install|add)\b([^\n]{0,400})")
_NAME = re.compile(r"[A-Za-z][\w.-]*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a module that is missing; imports inside `try` or a function may never be run."""
    modules = [m for m in case.program.modules if m.file is case.submission.script]
    if not modules:
        return cannot_tell("there is no script that can be read")
    named = _PACKAGES | sys.stdlib_module_names | _in_folder(case) | _declared(case)
    named |= {name for module in modules for name in _made_by_script(module)}
    known = {_plain(name) for name in named}
    findings: dict[str, Finding] = {}
    for module in modules:
        for name, node in _top_imports(module):
            if _plain(name) not in known and name not in findings:
                message = f"imports {name}, which the folder does not hold and no file declares"
                findings[name] = finding_at(module, node, message)
    return CheckResult(findings=tuple(findings.values()))


def _top_imports(module: Module) -> Iterator[tuple[str, ast.stmt]]:
    for statement in module.tree.body:
        if isinstance(statement, ast.Import):
            yield from ((alias.name.partition(".")[0], statement) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            yield (statement.module or "").partition(".")[0], statement


def _made_by_script(module: Module) -> Iterator[str]:
    """Names that a script hands out itself: it enters modules of its own into `sys.modules`.

    Under which names it does so may be known to a run alone: any that it passes to a call counts.
    """
    stored = (node for node in module.of_kind(ast.Subscript) if isinstance(node.ctx, ast.Store))
    if not any(getattr(node.value, "attr", "") == "modules" for node in stored):
        return
    for call in module.of_kind(ast.Call):
        text = literal_text(call.args[0]) if call.args else None
        if text is not None and _DOTTED.fullmatch(text):
            yield text.partition(".")[0]


def _in_folder(case: PaperCase) -> set[str]:
    """Every name that a file or a folder may be imported by, wherever it lies."""
    paths = [file.path for file in case.submission.files]
    return {part.partition(".")[0] for path in paths for part in path.parts}


def _declared(case: PaperCase) -> set[str]:
    """Names in requirements files and after `pip install`."""
    texts = [file.text or "" for file in case.submission.of_kind(FileKind.REQUIREMENTS)]
    for file in case.submission.files:
        if file.kind is not FileKind.LOG and (text := file.text):
            texts += _INSTALLS.findall(text) if "install" in text or " add " in text else []
    return set(_names(texts))


def _names(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from _NAME.findall(text)


def _plain(name: str) -> str:
    """`opt-einsum` is imported as `opt_einsum`."""
    return name.lower().replace("-", "_").replace(".", "_")
