"""Whatever a folder holds: `check` gives a verdict, soon, and none of its checks fails."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work_count import lines_run

from verifier.errors import SubmissionUnreadableError
from verifier.pipeline import check
from verifier.reports.markdown import render_markdown
from verifier.reports.verdict_file import render_json
from verifier.rulebook import load_rulebook

NAMES = ("train_gpt.py", "submission.json", "README.md", "train_seed42.log", "pgolf.yaml")
PIECES = (
    *("import torch\n", "exec(", "open('/tmp/x.pt')\n", "for i in x:\n ", "val_tokens", "f'{x}'\n"),
    *("def f(a):\n return ", "print('val_bpb', x)\n", "x = l/math.log(2)*0.4\n", "train_files = "),
    *('{"val_bpb":', '"seeds":[42]', '"date":"2026-04-30"', "}", "]", '"\\ud800"', "1e999", "NaN"),
    *("seed:42\n", "step:1/2 val_loss:1.0 val_bpb:1.0\n", "final_int8 val_loss:1.0 val_bpb:0.9\n"),
    *(
        "val_tokens:",
        "Total submission size a: ",
        "9" * 18,
        " bytes\n",
        "A=1 torchrun ",
        "train_a.py ",
    ),
    *(
        "--nproc_per_node=",
        "²",
        "\\\n",
        "```\n",
        "trained on val",
        "\u2581",
        "\x85",
        "\r",
        "\x0c",
        "\0",
    ),
)
CONTENTS = st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(
    lambda pieces: "".join(pieces).encode()
)
REPEATED = (
    *("x = l/ln2*q\n", "if c:\n train_files=val_files\n", "open('/tmp/x.bin')\n", "exec(x)\n"),
    *("for i in x:\n if p.startswith('\u2581'):\n  t[i]=len(p.encode())\n", "def f(): f()\nf()\n"),
    *("subprocess.run(['foo'])\n", "train_files=val_files if a else b\n", "x=[x,x]\n", "f'{\n"),
)
RULEBOOK = load_rulebook()


def verdict_of(folder):
    verdict = check(folder, RULEBOOK, "readme-strict", None)
    assert render_json(verdict) and render_markdown(verdict)
    failed = [rule for rule in verdict.rules if (rule.reason or "").startswith("the check failed")]
    assert failed == []
    return verdict


@settings(max_examples=300)
@given(contents=st.lists(CONTENTS, min_size=len(NAMES), max_size=len(NAMES)))
def test_any_bytes_end_in_a_verdict(tmp_path, contents):
    for name, content in zip(NAMES, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    assert verdict_of(tmp_path).verdict in ("rejected", "inconclusive")


@settings(max_examples=40)
@given(name=st.binary(min_size=1, max_size=40).filter(lambda n: not {0, 47} & {*n}))
def test_any_file_name_ends_in_a_verdict(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("submission")
    (folder / "README.md").write_text("a submission")
    if name not in (b".", b".."):
        (folder / os.fsdecode(name)).write_bytes(b"seed:42\n")
    verdict_of(folder)


@pytest.mark.parametrize("line", REPEATED)
def test_twice_the_lines_are_twice_the_work(tmp_path, line):
    def work(num_lines):
        (tmp_path / "train_gpt.py").write_text(line * (num_lines // line.count("\n")))
        return lines_run(lambda: verdict_of(tmp_path))

    work(500)  # what is read once and kept is no part of it
    assert work(1_000) < 2.1 * work(500)


def test_a_folder_without_a_readable_file_is_told_apart(tmp_path):
    with pytest.raises(SubmissionUnreadableError):
        verdict_of(tmp_path)
