"""What public scripts call our options in the environment, and how their command lines read.

A public name is an option's field in capitals (`optimizer.matrix_lr`: MATRIX_LR), or stands in
one of the tables below.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainer.errors import RecipeError
from trainer.recipe import Value, options_by_path
from trainer.recipe_checks import convert

# Another word for an option: name → path.
ALIASES = {
    "QAT": "quantization.qat_enabled",  # #50
    "SW_EVAL_BATCH": "evaluation.eval_batch_seqs",  # #65
    "NEGATIVE_SLOPE": "model.leaky_relu_slope",  # #1204
    "MUON_WD": "optimizer.muon_weight_decay",  # #162
    "ADAM_WD": "optimizer.adam_weight_decay",  # #549
    "EMBED_WD": "optimizer.embed_weight_decay",  # #1218
    "VAL_BATCH_TOKENS": "batch.val_batch_size",  # #1218
    "GPTQ_RESERVE_SECONDS": "schedule.reserve_seconds",  # #1218
}
# Another word for an option's value too: name → path, and what each value means there.
TRANSLATIONS: dict[str, tuple[str, dict[str, Value]]] = {
    "USE_INT6": ("quantization.matrix_bits", {"0": 8, "1": 6}),  # #63
    "USE_ZSTD": ("quantization.compressor", {"0": "zlib", "1": "zstd"}),  # #63
}
# What the trainer lacks, because no record used it: name → the one value that goes without.
WITHOUT = {
    "LORA_RANK": "0",
    "LORA_LR": "0.01",
    "ZSTD_LEVEL": "22",  # #63: the level that the compressor always takes
    "EMBEDDING_DIM": "512",  # #1218: the model's own, without a projection
    "ATTN_OUT_GATE_SRC": "proj",  # #1667
    "ROPE_YARN": "0",  # #1530
    "LQER_ASYM_ENABLED": "1",  # #1851: factors in two and four bits
    "LQER_FACTOR_BITS": "4",
    "AWQ_LITE_BITS": "8",  # #1945
    "TTT_GRAD_STEPS": "1",  # #1530
    "TTT_OPTIMIZER": "adam",
    "TTT_EVAL_BATCHES": "",
    "PHASED_TTT_ENABLED": "1",  # #1610: where there are phases
    "GLOBAL_TTT_BATCH_SEQS": "32",  # of a process at once: all that it has of a step
    "GLOBAL_TTT_RESPECT_DOC_BOUNDARIES": "1",
    "GLOBAL_TTT_WARMUP_CHUNKS": "0",
}
# Variables of drivers and libraries: no part of a recipe.
SYSTEM_NAME = re.compile(r"(CUDA|NCCL|OMP|MKL|PYTHON|PYTORCH|TORCH|TORCHINDUCTOR|TRITON)_\w+")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SHELL_WORDS = (";", "&&", "||", "export", "for", "do", "source")
NUM_PROCESSES = re.compile(r"--nproc[_-]per[_-]node(?:[= ](\S+))?")


def public_names(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Every public name of these options, or of all → its path."""
    chosen = list(options_by_path() if paths is None else paths)
    own = {path.split(".")[1].upper(): path for path in chosen}
    others = ALIASES | {name: path for name, (path, _) in TRANSLATIONS.items()}
    return own | {name: path for name, path in others.items() if path in chosen}


def translated(name: str, value: object) -> object:
    """An option's value, as said under one of its public names or its path.

    Raises:
        RecipeError: the value means nothing under that name.
    """
    if name not in TRANSLATIONS:
        return value
    path, meanings = TRANSLATIONS[name]
    if str(value) not in meanings:
        raise RecipeError(f"expected {' or '.join(meanings)}, not {value!r}; or set {path}")
    return meanings[str(value)]


def environment_settings(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that an environment makes by public names: option path → value.

    Raises:
        RecipeError: one asks for what the trainer lacks, or means nothing.
    """
    names = public_names()
    return {
        names[name]: translated(name, text)
        for name, text in without_what_is_off(environment).items()
        if name in names
    }


def refuse_what_is_built_in(environment: Mapping[str, str], built_in: Mapping[str, Value]) -> None:
    """See to it that an environment leaves alone what a script was written for.

    Args:
        environment: public names and texts; those of no option do not count.
        built_in: path → the only value that the script has code for.

    Raises:
        RecipeError: another value is wanted; with all that are, one a line.
    """
    mistakes = []
    said = without_what_is_off(environment)
    for name, path in public_names(built_in).items():
        if name in said and not means(translated(name, said[name]), built_in[path]):
            text = said[name]
            mistakes.append(
                f"{name}={text}: this script has no code for it, it was written for "
                f"{path} {built_in[path]!r}; write another with pgolf-train --set {path}={text}"
            )
    if mistakes:
        raise RecipeError("\n".join(mistakes))


def means(raw: object, value: Value) -> bool:
    """Whether what an environment says is an option's value."""
    try:
        return convert(type(value), raw) == value
    except RecipeError:
        return False


def without_what_is_off(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment, less what only says that a technique is not wanted which we lack.

    #50, known by its LORA_RANK, counts passes through all blocks as NUM_LOOPS, where later scripts
    count more passes through a few: its NUM_LOOPS=1 is none.

    Raises:
        RecipeError: such a technique is wanted; with all that are, one a line.
    """
    if "LORA_RANK" in environment and environment.get("NUM_LOOPS") == "1":
        environment = {name: text for name, text in environment.items() if name != "NUM_LOOPS"}
    mistakes = [
        f"{name}={environment[name]}: the trainer has no such technique; leave it at {off}"
        for name, off in WITHOUT.items()
        if environment.get(name, off) != off
    ]
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    return {name: text for name, text in environment.items() if name not in WITHOUT}


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicCommand:
    """What a public run's command line says."""

    assignments: dict[str, str]  # public name → text
    num_processes: int | None


def _refuse_what_needs_a_shell(words: list[str], num_assignments: int) -> None:
    """What stands elsewhere than before the launch would be lost in silence.

    Raises:
        RecipeError: names it.
    """
    script_at = next((i for i, w in enumerate(words) if w.rstrip(";").endswith(".py")), None)
    expected = "the command line should read: NAME=value … torchrun … train_gpt.py"
    if script_at is None:
        raise RecipeError(expected)
    lost = [word for word in words[:num_assignments] if word.endswith(";")]
    lost += [
        word
        for word in words[num_assignments:script_at]
        if ASSIGNMENT.fullmatch(word) or word in SHELL_WORDS
    ]
    if lost:
        raise RecipeError(f"{expected}; here a shell would have to read {lost[0]!r}")


def parse_command(command: str) -> PublicCommand:
    r"""Read a command line as READMEs give it: NAME=value … torchrun … train_gpt.py.

    Line ends may be escaped (\). Variables of drivers and libraries, and techniques that are
    switched off, are passed over.

    Raises:
        RecipeError: it is none, or asks for what the trainer lacks.
    """
    try:
        words = shlex.split(command.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise RecipeError(f"the command line cannot be read: {error}") from None
    words = words[1:] if words[:1] == ["env"] else words
    found = [ASSIGNMENT.fullmatch(word) for word in words]
    num_assignments = found.index(None) if None in found else len(found)
    assignments = {match[1]: match[2] for match in found[:num_assignments] if match}
    launch = " ".join(words[num_assignments:])
    _refuse_what_needs_a_shell(words, num_assignments)
    wanted = without_what_is_off(assignments)
    processes = NUM_PROCESSES.search(launch)
    if processes and not (processes[1] or "").isdecimal():
        raise RecipeError(f"the command line has {processes[0]!r}: expected a number of processes")
    return PublicCommand(
        assignments={
            name: text for name, text in wanted.items() if not SYSTEM_NAME.fullmatch(name)
        },
        num_processes=int(processes[1]) if processes else None,
    )
