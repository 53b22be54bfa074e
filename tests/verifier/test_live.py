"""Progress: one live line on a terminal, plain lines elsewhere, and none when quiet."""

import io
import re

import pytest
from rich.console import Console

from verifier.claims.training_log import TrainingLogReader
from verifier.reports.live import LiveRun
from verifier.rulebook import load_rulebook

LIMITS = load_rulebook("10min_16mb").track.limits
LINES = (
    "train_batch_tokens:512 train_seq_len:64 iterations:2",
    "step:1/2 train_loss:2.5 train_time:5ms",
    "step:2/2 train_loss:1.5 train_time:5ms",
    "Serialized model int8+zlib: 100 bytes",
    "final_int8_zlib_roundtrip val_loss:2.0 val_bpb:1.0612",
)


def shown(is_terminal: bool, quiet: bool = False, width: int = 120, is_small: bool = False) -> str:
    """What a run of one seed with two steps writes."""
    console = Console(
        file=io.StringIO(), force_terminal=is_terminal, width=width, _environ={"TERM": "xterm"}
    )
    reader = TrainingLogReader()
    with LiveRun(console, quiet) as live:
        live.note("run directory \x1b]0;evil\x07 [bold]x[/bold]")
        live.run_started("seed 7 (1/3)")
        live.stage_started("run", 0.0, LIMITS, is_small)
        for number, line in enumerate(LINES):
            reader.feed(line)
            live.line_read(20.0 * number, reader)
    return console.file.getvalue()


def test_plain_lines_say_seed_step_loss_and_time():
    lines = shown(is_terminal=False).splitlines()
    assert lines[1:] == [
        "seed 7 (1/3): started",
        "seed 7 (1/3): training 0 of 600 s, 0 s left, step 1/2, loss 2.500, 102,400 tokens/s",
        "seed 7 (1/3): packing 0 s",
        "seed 7 (1/3): evaluation 0 of 600 s",
        "seed 7 (1/3): evaluation 20 of 600 s, 1.0612 BPB",
    ]


def test_a_small_run_is_told_its_one_end_and_no_budget_of_full_runs():
    lines = shown(is_terminal=False, is_small=True).splitlines()
    assert lines[2:] == [
        "seed 7 (1/3): training 0 s, run 20 of 2400 s, 0 s left, step 1/2, loss 2.500, "
        "102,400 tokens/s",
        "seed 7 (1/3): packing 0 s, run 40 of 2400 s",
        "seed 7 (1/3): evaluation 0 s, run 60 of 2400 s",
        "seed 7 (1/3): evaluation 20 s, run 80 of 2400 s, 1.0612 BPB",
    ]


def test_a_terminal_gets_one_line_that_is_gone_afterwards():
    text = shown(is_terminal=True)
    assert "seed 7 (1/3)" in text and "evaluation 20 of 600 s, 1.0612 BPB" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.endswith("\x1b[2K")


def test_a_narrow_terminal_has_no_bar_and_all_of_the_note():
    text = re.sub(r"\x1b\[[\d;?]*\w", "", shown(is_terminal=True, width=48))
    assert "\rseed 7 (1/3) evaluation 20 of 600 s, 1.0612 BPB" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_shows_nothing(is_terminal):
    assert shown(is_terminal, quiet=True) == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_foreign_text_does_not_act(is_terminal):
    first = shown(is_terminal).splitlines()[0]
    assert first == "run directory \\x1b]0;evil\\x07 [bold]x[/bold]"


def test_a_flood_of_lines_is_thinned_out():
    console = Console(file=io.StringIO(), force_terminal=False, width=120)
    reader = TrainingLogReader()
    with LiveRun(console) as live:
        live.run_started("seed 7 (1/1)")
        live.stage_started("run", 0.0, LIMITS, is_small=False)
        for step in range(1, 1001):
            reader.feed(f"step:{step}/1000 train_loss:1.5 train_time:5ms")
            live.line_read(step / 100, reader)
    assert console.file.getvalue().count("\n") <= 3
