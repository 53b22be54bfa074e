"""The size of a submission's code under each of the conventions by which it has been counted."""

from pathlib import PurePosixPath

from verifier.intake.submission import FileKind, Submission, SubmissionFile
from verifier.reading.packing import wrapped
from verifier.reading.program import Program
from verifier.schemas.run_record_json import CodeBytes


def count_code(program: Program, declared: tuple[SubmissionFile, ...] = ()) -> CodeBytes:
    """Bytes of the files that the main script needs, itself included; as_logged is the log's word.

    All are None without a script, or when a part of it does not parse: what it needs is unclear.

    Args:
        program: the code as far as it can be read.
        declared: what pgolf.yaml names as code; evaluation gets it, so it counts.
    """
    needed = needed_files(program)
    if not needed:
        return CodeBytes(as_logged=None, literal=None)
    files = tuple({file.path: file for file in (*needed, *declared)}.values())
    smaller = rebuilt_wrappers(program)
    counted = [f for f in files if f in declared or f.kind is not FileKind.TOKENIZER]
    return CodeBytes(
        as_logged=None,
        literal=sum(file.num_bytes for file in counted),
        every_file_opened=sum(file.num_bytes for file in files),
        rebuilt_wrapper=sum(
            len(smaller[file.path]) if file.path in smaller else file.num_bytes for file in counted
        ),
    )


def declared_files(submission: Submission) -> tuple[SubmissionFile, ...]:
    """The files of the folder that its pgolf.yaml names as code."""
    listed = (submission.contract or {}).get("code")
    names = {PurePosixPath(name) for name in listed} if isinstance(listed, list) else set()
    return tuple(file for file in submission.files if file.path in names)


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
