"""From the main script to all code that it reaches."""

from verifier.intake.submission import load_submission
from verifier.reading.program import load_program, read_module


def program_of(tmp_path, **scripts):
    for name, text in scripts.items():
        path = tmp_path / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return load_program(load_submission(tmp_path))


def names(modules):
    return [module.name for module in modules]


def test_imports_are_followed_transitively_and_the_rest_is_named(tmp_path):
    program = program_of(
        tmp_path,
        train_gpt="from lib.model import GPT\nimport torch",
        lib__model="import helper",
        helper="x = 1",
        prepare_data="import helper",
    )
    assert names(program.modules) == ["train_gpt.py", "lib/model.py", "helper.py"]
    assert [str(file.path) for file in program.unreachable] == ["prepare_data.py"]


def test_a_trampoline_reaches_the_shipped_file_itself(tmp_path):
    trampoline = "exec(open(__file__.replace('train_gpt', 'real')).read())"
    program = program_of(tmp_path, train_gpt=trampoline, real="import helper", helper="")
    assert names(program.modules) == ["train_gpt.py", "real.py", "helper.py"]
    assert not program.opaque


def test_a_named_script_is_reached(tmp_path):
    program = program_of(tmp_path, train_gpt="import os\nos.system('python other.py')", other="")
    assert names(program.modules) == ["train_gpt.py"]
    program = program_of(tmp_path, train_gpt="run(['python', 'other.py'])")
    assert names(program.modules) == ["train_gpt.py", "other.py"]


def test_a_script_that_is_no_python_is_opaque(tmp_path):
    (opaque,) = program_of(tmp_path, train_gpt="this is a prose").opaque
    assert (opaque.kind, opaque.file) == ("broken", "train_gpt.py")


def test_a_folder_without_a_script_has_no_modules(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    assert load_program(load_submission(tmp_path)).modules == ()


def test_unreached_scripts_can_be_read_one_by_one(tmp_path):
    program = program_of(tmp_path, train_gpt="", prepare="x = 1", broken="(")
    modules = {str(file.path): read_module(file) for file in program.unreachable}
    assert modules["broken.py"] is None
    assert modules["prepare.py"].place(modules["prepare.py"].tree.body[0]) == ("prepare.py", 1)
