import io

from rich.console import Console

from trainer.training_display import TrainingDisplay

LINES = [
    "phase:warm_up seconds:0.1",
    "step:5/40 train_loss:6.5432 train_time:250ms step_avg:50.00ms",
    "phase:training seconds:2.0",
]


def shown(console):
    with TrainingDisplay([7, 8], tokens_per_step=1000, console=console) as display:
        for line in LINES:
            display(8, line)
            console.file.write("|")
            display._bar.refresh()
    return console.file.getvalue()


def test_on_a_terminal_one_line_says_how_far_the_seed_is():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    text = shown(console)
    for words in ("seed 8 (2/2)", "5/40  loss 6.5432  20,000 tokens/s", "packing"):
        assert words in text


def test_anywhere_else_the_runs_own_lines_are_shown_whole():
    text = shown(Console(file=io.StringIO(), width=20))
    assert all(f"seed 8 | {line}\n" in text for line in LINES)


def test_quiet_shows_nothing():
    assert shown(Console(file=io.StringIO(), quiet=True)) == "|||"
