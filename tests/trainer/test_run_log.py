from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.run_log import written_whole


def test_a_file_that_the_disk_refused_leaves_the_one_before_it(tmp_path):
    path = tmp_path / "weights.ptz"
    path.write_text("old")
    with (
        pytest.raises(TrainerError, match=r"weights.ptz: cannot be written \(No space left"),
        written_whole(path) as part,
    ):
        part.write_bytes(b"half")
        Path("/dev/full").write_bytes(b"the other half")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
