"""Calls are known by what their imports say, and commands by their literal words."""

import pytest

from verifier.intake.submission import load_submission
from verifier.reading.called_names import command_words, named_calls, starts_process
from verifier.reading.program import load_program


def calls_of(tmp_path, script):
    (tmp_path / "train_gpt.py").write_text(script)
    (module,) = load_program(load_submission(tmp_path)).modules
    return list(named_calls(module))


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("import numpy as np\nnp.load('x')", "numpy.load"),
        ("from os import system as s\ns('ls')", "os.system"),
        ("from a import b\nb.c.d()", "a.b.c.d"),
        ("import a.b\na.b.c()", "a.b.c"),
        ("model.eval()", "model.eval"),
    ],
)
def test_a_call_bears_its_full_name(tmp_path, script, name):
    assert [call.name for call in calls_of(tmp_path, script)] == [name]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("['/usr/bin/git', 'clone', url]", ["git", "clone", ""]),
        ("[sys.executable, '-m', 'pip']", ["", "-m", "pip"]),
        ("'curl -s ' + url", ["curl", "-s"]),
        ("f'wget {url}'", ["wget"]),
        ("command", []),
    ],
)
def test_a_command_is_known_by_its_literal_words(tmp_path, command, words):
    (call,) = calls_of(tmp_path, f"import subprocess\nsubprocess.run({command})")
    assert starts_process(call)
    assert command_words(call) == words


def test_a_finding_cites_the_line_of_the_call(tmp_path):
    (call,) = calls_of(tmp_path, "x = 1\n\n  \nload(\n    'y')\n")
    finding = call.finding("loads")
    assert (finding.file, finding.line, finding.evidence) == ("train_gpt.py", 4, "load(")
