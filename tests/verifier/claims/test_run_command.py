"""The run command is read from a README as text; no shell ever sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.claims.run_command import find_run_commands


def only(readme: str):
    [command] = find_run_commands(readme)
    return command


def test_assignments_before_the_launch_line_are_its_environment():
    command = only("```\nA=1 B='two words' torchrun --nproc_per_node=8 train_gpt.py --x 3\n```")
    assert command.environment == {"A": "1", "B": "two words"}
    assert (command.script, command.arguments) == ("train_gpt.py", ("--x", "3"))
    assert (command.num_processes, command.line) == (8, 2)


@pytest.mark.parametrize(
    "readme",
    [
        "```bash\nexport A=1\nexport B=2 C=3\npython train_gpt.py\n```",
        "```bash\nA=1 \\\n  B=2 \\\n  C=3 \\\n  python train_gpt.py\n```",
        "```bash\nenv A=1 B=2 C=3 python3 train_gpt.py\n```",
        "```bash\nA=1; B=2;\nC=3 python train_gpt.py\n```",
        "    $ A=1 B=2 C=3 python ./train_gpt.py",
        "Run `A=1 B=2 C=3 python train_gpt.py`".removeprefix("Run "),
    ],
)
def test_every_public_spelling_is_read(readme):
    assert only(readme).environment == {"A": "1", "B": "2", "C": "3"}


def test_exports_end_with_their_block():
    command = only("```\nexport A=1\n```\n```\npython train_gpt.py\n```")
    assert command.environment == {}


def test_a_loop_variable_is_left_out_and_named():
    command = only("```\nfor s in 1 2; do\n  SEED=$s A=1 torchrun train_gpt.py > log.$s\ndone\n```")
    assert (command.environment, command.left_out) == ({"A": "1"}, ("SEED",))
    assert command.arguments == ()


@pytest.mark.parametrize("value", ["$(rm -rf /)", "`id`", "${HOME}", "$x"])
def test_what_only_a_shell_could_tell_is_left_out(value):
    command = only(f'```\nA="{value}" python train_gpt.py\n```')
    assert (command.environment, command.left_out) == ({}, ("A",))


@pytest.mark.parametrize("end", ["| tee log", "> log 2>&1", "2>&1 | tee x", "&& echo", "; ls", "&"])
def test_arguments_end_where_the_shell_begins(end):
    assert only(f"```\npython train_gpt.py --a 1 {end}\n```").arguments == ("--a", "1")


@pytest.mark.parametrize(
    "line",
    [
        "We train_gpt.py with python",
        "It's python train_gpt.py, isn't it",
        "pip install torch",
        "python prepare.py",
        "bash train_gpt.py",
        "A=1 B=\0 python train_gpt.py",
        "A=1 " * 10_000 + "python train_gpt.py",
    ],
)
def test_what_is_no_launch_line_is_none(line):
    assert find_run_commands(f"```\n{line}\n```") == ()


def test_more_settings_than_a_process_can_take_are_left_out_and_named():
    exports = "\n".join(f"export N{i}={'x' * 15_000}" for i in range(20))
    command = only(f"```\n{exports}\npython train_gpt.py\n```")
    size = sum(len(name) + len(value) for name, value in command.environment.items())
    assert size < 5_000
    assert len(command.environment) + len(command.left_out) == 20


@given(st.text(alphabet="A=1 '\"\\`$\n#;python train_gpt.py\0", max_size=300))
def test_no_text_breaks_the_reader(text):
    for command in find_run_commands(text + "\npython train_gpt.py"):
        assert not any("$" in v or "`" in v or "\0" in v for v in command.environment.values())


def test_of_a_huge_readme_only_the_first_lines_are_joined_and_read():
    endless = "export A=1 \\\n" * 200_000 + "x" * 2_000_000
    assert find_run_commands(endless + "\npython train_gpt.py") == ()
    [command] = find_run_commands("python train_gpt.py\n" + endless)
    assert command.environment == {}


@pytest.mark.parametrize("count", ["²", "9" * 5_000, "-1", "two"])
def test_a_number_of_processes_that_is_no_count_is_not_read(count):
    (command,) = find_run_commands(f"torchrun --nproc_per_node={count} train_gpt.py")
    assert command.num_processes is None
