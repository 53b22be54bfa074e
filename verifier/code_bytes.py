"""The size of a submission's code under each of the conventions by which it has been counted."""

from pathlib import PurePosixPath

from verifier.packing import wrapped
from verifier.program import Program
from verifier.schemas.run_record_json import CodeBytes
from verifier.submission import FileKind, SubmissionFile


def count_code(program: Program) -> CodeBytes:
    """Bytes of the files that the main script needs, itself included; as_logged is the log's word.

    All are None without a script, or when a part of it does not parse: what it needs is unclear.
    """
    files = needed_files(program)
    if not files:
        return CodeBytes(as_logged=None, literal=None)
    smaller = rebuilt_wrappers(program)
    counted = [file for file in files if file.kind is not FileKind.TOKENIZER]
    return CodeBytes(
        as_logged=None,
        literal=sum(file.num_bytes for file in counted),
        every_file_opened=sum(file.num_bytes for file in files),
        rebuilt_wrapper=sum(
            len(smaller[file.path]) if file.path in smaller else file.num_bytes for file in counted
        ),
    )


def needed_files(program: Program) -> tuple[SubmissionFile, ...]:
    """The scripts that the main script reaches, and every other file that their code names.

    Tokenizers among them, which nobody has ever counted but under `every_file_opened`.
    """
    if any(code.kind == "broken" for code in program.opaque):
        return ()
    scripts = {module.file.path: module.file for module in program.modules}
    return tuple({**scripts, **{file.path: file for file in program.named}}.values())


def rebuilt_wrappers(program: Program) -> dict[PurePosixPath, bytes]:
    """What each script of the program would be if its author had packed it as usual.

    A run that finds these in the place of the scripts executes the same code.
    """
    shipped = [module for module in program.modules if module.depth == 0]
    return {module.file.path: wrapped(module.text, module.tree) for module in shipped}
