"""Which line of a failed process says why it failed."""

import pytest

from verifier.runs.last_words import MAX_CHARACTERS, MAX_LINES_AFTER, LastWords

REASON = "RuntimeError: Inference tensors cannot be saved for backward. Please do not use"
WARNING = (
    "[rank0]:[W1122 19:52:57.823579020 ProcessGroupNCCL.cpp:1575] Warning: WARNING: "
    "destroy_process_group() was not called before program exit (function operator())"
)
RANK = f"""[rank0]: Traceback (most recent call last):
[rank0]:   File "/pgolf/work/train_gpt.py", line 596, in apply_rotary_emb
[rank0]:     x_rope = torch.cat((x1 * cos + x2 * sin, x1 * (-sin) + x2 * cos), dim=-1)
[rank0]:                         ~~~^~~~~
[rank0]: {REASON}
{WARNING}
"""
LAUNCHER = """E1122 19:52:58.459000 2 torch/distributed/elastic/multiprocessing/api.py:986] failed \
(exitcode: 1) local_rank: 0 (pid: 22) of binary: /usr/bin/python3
Traceback (most recent call last):
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
train_gpt.py FAILED
"""


def heard(log: str) -> LastWords:
    words = LastWords()
    for line in log.splitlines():
        words.hear(line)
    return words


def test_a_warning_and_the_launchers_report_hide_no_exception():
    words = heard("step:1/2 train_loss:6.9\n" + RANK + LAUNCHER)
    assert words.text == REASON and words.rank_failed


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("step:1/2\nCUDA is required\n\n", "CUDA is required"),
        ("KeyError: 'a'\nDuring handling of the above\nValueError: b", "ValueError: b"),
        ("torch.OutOfMemoryError: CUDA out of memory\nfreed", "torch.OutOfMemoryError: CUDA"),
        ("  assert x\nAssertionError", "AssertionError"),
        ("x.py:3: UserWarning: ValueError: no\nstopped", "stopped"),
        ("ValueError: caught\n" + "step\n" * MAX_LINES_AFTER + "no data", "no data"),
        (f"{WARNING}\n{LAUNCHER}", "[rank0]:[W1122"),
    ],
)
def test_the_last_exception_counts_or_else_the_last_line(log, said):
    assert heard(log).text.startswith(said)


@pytest.mark.parametrize("part", ["a.", "A", "[rank0]: ", "ValueError: "])
def test_of_a_line_without_end_the_beginning_is_heard(part):
    assert len(heard(part * 100_000).text) <= MAX_CHARACTERS
