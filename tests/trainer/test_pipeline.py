import pytest

from trainer.errors import LaunchError
from trainer.pipeline import missing_gpus


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (0, 8), (1, 1), (2, 8)])
def test_nothing_is_said_where_there_are_gpus_enough(wanted, found):
    assert missing_gpus(wanted, found) is None


def test_a_machine_without_gpus_is_told_and_used_all_the_same():
    assert (
        missing_gpus(2, 0)
        == "--gpus 2: this machine has no GPU, so that its CPU does the work of all"
    )


def test_too_few_gpus_are_refused_before_anything_is_started():
    with pytest.raises(LaunchError, match="--gpus 8: this machine has 2; lower it"):
        missing_gpus(8, 2)
