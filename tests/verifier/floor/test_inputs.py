"""A floor run takes the submission's own vocabulary and short budgets."""

import pytest

from verifier.floor.inputs import floor_inputs, smaller_tables, vocabulary
from verifier.intake.submission import load_submission
from verifier.rulebook import load_rulebook
from verifier.runs.plan import PlanOptions

RULEBOOK = load_rulebook("demo")
OPTIONS = PlanOptions(profile="readme-strict", rung="floor")
DEFAULT_8192 = "import os\nvocab_size = int(os.environ.get('VOCAB_SIZE', 8192))\n"


def readme(line: str) -> dict[str, str]:
    return {"README.md": f"```\n{line} torchrun train_gpt.py\n```\n"}


@pytest.mark.parametrize(
    ("script", "files", "size"),
    [
        ("pass", {}, 1024),
        (DEFAULT_8192, {}, 8192),
        (DEFAULT_8192, readme("DATA_PATH=./data/datasets/fineweb10B_sp4096"), 4096),
        (DEFAULT_8192, readme("VOCAB_SIZE=2048"), 2048),
        (DEFAULT_8192, readme("VOCAB_SIZE=" + "9" * 500), 8192),
    ],
)
def test_the_vocabulary_is_the_one_that_the_submission_names(make_submission, script, files, size):
    submission = load_submission(make_submission(script, files))
    assert vocabulary(submission, RULEBOOK.track, OPTIONS) == size


def test_the_user_goes_first_and_budgets_are_short(make_submission):
    submission = load_submission(make_submission(DEFAULT_8192))
    options = PlanOptions(profile="readme-strict", rung="floor", environment={"VOCAB_SIZE": "300"})
    with floor_inputs(submission, RULEBOOK, options, minutes=0.5) as inputs:
        folder = inputs.options.data
        assert folder.stat().st_mode & 0o001  # a run under landlock is another user's
        assert len(list(folder.glob("datasets/fineweb10B_sp300/*.bin"))) == 2
        assert inputs.options.environment["MAX_WALLCLOCK_SECONDS"] == "30"
        assert inputs.options.num_seeds == 1
        limits = inputs.rulebook.track.limits
        assert limits.hard_wall_seconds.value == 30 + RULEBOOK.track.floor.other_seconds.value
    assert not folder.exists()


@pytest.mark.parametrize(("asked", "count"), [("fineweb_val_bytes_*.bin", 1), ("val_bytes", 0)])
def test_a_sidecar_lies_there_for_scripts_that_name_its_file(make_submission, asked, count):
    submission = load_submission(make_submission(f"# reads {asked}\n"))
    with floor_inputs(submission, RULEBOOK, OPTIONS, minutes=1) as inputs:
        assert len(list(inputs.options.data.glob("datasets/*/*_val_bytes_*"))) == count


@pytest.mark.parametrize(
    ("script", "files", "settings"),
    [
        ("get('NGRAM_BUCKETS', 4_194_304)", {}, {"NGRAM_BUCKETS": "8192"}),
        (
            'get("NGRAM_BUCKETS", "4194304")',
            readme("NGRAM_BUCKETS=65536"),
            {"NGRAM_BUCKETS": "1024"},
        ),
        ("get('BIGRAM_BUCKETS', 2048)", {}, {}),  # learned, not counted
        ("get('NGRAM_BUCKETS', 4_194_304)", readme("NGRAM_BUCKETS=" + "9" * 500), {}),
    ],
)
def test_tables_of_counts_are_as_full_as_on_the_real_data(make_submission, script, files, settings):
    submission = load_submission(make_submission(f"import os\nos.environ.{script}\n", files))
    assert smaller_tables(submission, load_rulebook("10min_16mb").track) == settings
    assert smaller_tables(submission, RULEBOOK.track) == {}  # its own text is shorter than the tape
