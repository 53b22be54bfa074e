import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import SubmissionUnreadableError
from verifier.intake.submission import (
    MAX_FILES,
    MAX_TOTAL_BYTES,
    WINDOW_BYTES,
    FileKind,
    load_submission,
)

LOGS = Path(__file__).parents[1] / "logs"
SCRIPT = "print('val_bpb')\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def problems(folder: Path) -> dict[str, str]:
    return {str(problem.path): problem.message for problem in load_submission(folder).problems}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"train_gpt.py": SCRIPT, "README.md": "# Mine", "submission.json": "{}"})
    shutil.copy(LOGS / "baseline.log", tmp_path / "train_seed1337.log")
    return tmp_path


def test_a_list_for_a_submission_json_is_told(folder: Path) -> None:
    write(folder, {"submission.json": "[1, 2]"})
    assert problems(folder) == {"submission.json": "holds no JSON object"}


def test_a_public_folder_is_sorted_by_kind(folder: Path) -> None:
    write(folder, {"requirements.txt": "brotli", "notes.txt": "step by step", "run.sh": "ls"})
    write(folder, {"bpe.model": "x", "logs/train0.txt": (LOGS / "unix_time.txt").read_text()})
    kinds = {str(file.path): file.kind for file in load_submission(folder).files}
    assert kinds == {
        "README.md": FileKind.README,
        "bpe.model": FileKind.TOKENIZER,
        "logs/train0.txt": FileKind.LOG,
        "notes.txt": FileKind.OTHER,
        "requirements.txt": FileKind.REQUIREMENTS,
        "run.sh": FileKind.OTHER,
        "submission.json": FileKind.METADATA,
        "train_gpt.py": FileKind.SCRIPT,
        "train_seed1337.log": FileKind.LOG,
    }


def test_a_folder_without_faults_has_no_problems(folder: Path) -> None:
    submission = load_submission(folder)
    assert submission.problems == ()
    assert submission.readme_text == "# Mine"
    assert submission.name == folder.name


@pytest.mark.parametrize(
    ("main", "others"),
    [
        ("train_gpt.py", ["train_gpt_human.py", "a.py"]),
        ("train_gpt_v5.py", ["lossless_caps.py", "train_gpt_v5_decode.py"]),
        ("train_mdlm.py", ["prepare_caseops_data.py", "ngram_tilt.py"]),
        ("solution.py", ["sub/solution.py"]),
    ],
)
def test_the_main_script_is_found_by_name_then_content(
    tmp_path: Path, main: str, others: list[str]
) -> None:
    write(tmp_path, {main: SCRIPT} | dict.fromkeys(others, SCRIPT))
    script = load_submission(tmp_path).script
    assert script is not None and str(script.path) == main


def test_helpers_alone_are_no_main_script(tmp_path: Path) -> None:
    assert load_submission(write(tmp_path, {"caps.py": "def up(): ..."})).script is None


def test_a_single_script_is_a_submission(tmp_path: Path) -> None:
    submission = load_submission(
        write(tmp_path, {"a.txt": "", "train_gpt.py": SCRIPT}) / "train_gpt.py"
    )
    assert submission.script is not None and submission.files == (submission.script,)


def test_the_hash_follows_the_content_not_the_place(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))
    assert load_submission(copy).sha256 != load_submission(folder).sha256  # it lies in there now
    twin = Path(shutil.copytree(copy, tmp_path / "elsewhere" / "twin"))
    assert load_submission(twin).sha256 == load_submission(copy).sha256
    (twin / "README.md").rename(twin / "readme.md")
    assert load_submission(twin).sha256 != load_submission(copy).sha256


def test_a_folder_alone_within_others_is_the_submission(folder, tmp_path_factory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    inner = outer / "records" / "track" / "name"
    shutil.copytree(folder, inner)
    loaded = load_submission(outer)
    assert loaded.root == inner and loaded.name == outer.name
    assert loaded.sha256 == load_submission(folder).sha256
    (inner.parent / "README.md").write_text("two entries")
    assert load_submission(outer).root == inner.parent


def test_a_link_is_no_folder_to_go_into(folder, tmp_path_factory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    (outer / "linked").symlink_to(folder)
    with pytest.raises(SubmissionUnreadableError):
        load_submission(outer)


def test_a_log_is_known_by_its_name_or_its_lines(tmp_path: Path) -> None:
    names = ("logs.txt", "notes.txt", "runs/seed_1/a/train.log", "a/b/c/d/deep.log")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("[STEP 00079] loss=4.7655\n" + name)
    (tmp_path / "train_gpt.py").write_text("")
    logs = {str(log.path) for log in load_submission(tmp_path).logs}
    assert logs == {"logs.txt", "runs/seed_1/a/train.log"}


def test_identical_logs_are_marked(folder: Path) -> None:
    shutil.copy(folder / "train_seed1337.log", folder / "train.log")
    duplicates = {str(file.path): str(file.duplicate_of) for file in load_submission(folder).logs}
    assert duplicates == {"train.log": "None", "train_seed1337.log": "train.log"}


def test_nothing_but_regular_files_is_opened(folder: Path) -> None:
    (folder / "passwd.log").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "train.log")
    found = problems(folder)
    assert "symbolic link" in found["passwd.log"] and "symbolic link" in found["up"]
    assert "no regular file" in found["train.log"]


def test_odd_names_stay_apart_and_printable(folder: Path) -> None:
    for name in (b"a b\n.log", b"\xff.log", b"\xfe.log", b"\x1b[31m.log"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_text("seed:1")
    paths = [str(file.path) for file in load_submission(folder).logs]
    assert len(set(paths)) == 5
    assert all(path.encode() for path in paths)


def test_a_long_log_is_read_at_both_ends(folder: Path) -> None:
    with (folder / "long.log").open("w") as stream:
        stream.write("seed:42\n")
        for _ in range(8 * WINDOW_BYTES // 1024):
            stream.write("x" * 1023 + "\n")
        stream.write("final_sliding val_loss:2.0 val_bpb:1.1\n")
    (log,) = (log for log in load_submission(folder).logs if log.path.name == "long.log")
    assert log.text is not None and len(log.text) <= 3 * WINDOW_BYTES
    assert log.text.startswith("seed:42") and log.text.endswith("val_bpb:1.1\n")
    assert "only its first" in problems(folder)["long.log"]


def test_a_binary_log_is_a_problem_and_utf_16_is_text(folder: Path) -> None:
    (folder / "binary.log").write_bytes(b"\0\1\2")
    (folder / "windows.log").write_bytes("seed:42\r\n".encode("utf-16"))
    texts = {file.path.name: file.text for file in load_submission(folder).logs}
    assert texts["binary.log"] is None and "binary" in problems(folder)["binary.log"]
    assert texts["windows.log"] == "seed:42\r\n"


def test_broken_metadata_is_a_problem_with_its_place(folder: Path) -> None:
    (folder / "submission.json").write_text('{"val_bpb": }')
    assert "line 1, column 13" in problems(folder)["submission.json"]


def test_an_odd_named_metadata_file_counts(tmp_path: Path) -> None:
    write(tmp_path, {"train.log": "", "submission_ternary.json": '{"val_bpb": 1.1565}'})
    metadata = load_submission(tmp_path).metadata
    assert metadata is not None and metadata.val_bpb == 1.1565


def test_the_contract_is_read_and_its_bombs_are_not(folder: Path) -> None:
    (folder / "pgolf.yaml").write_text("train: torchrun train_gpt.py\n")
    assert load_submission(folder).contract == {"train": "torchrun train_gpt.py"}
    for bomb in ("a: &a [x]\nb: [*a, *a]", "[" * 5000, "a: [", "- 1"):
        (folder / "pgolf.yaml").write_text(bomb)
        assert load_submission(folder).contract is None
        assert "contract is ignored" in problems(folder)["pgolf.yaml"]


def test_what_is_no_submission_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(SubmissionUnreadableError, match="no such file"):
        load_submission(tmp_path / "missing")
    with pytest.raises(SubmissionUnreadableError, match="no file that can be read"):
        load_submission(tmp_path)
    write(tmp_path, {"b/train_gpt.py": SCRIPT, "a/train_gpt.py": SCRIPT, "README.md": ""})
    with pytest.raises(SubmissionUnreadableError, match="2 submissions; give one of them.*a, b"):
        load_submission(tmp_path)


def test_a_file_closed_to_us_is_told_as_such_not_as_missing(folder: Path, monkeypatch) -> None:
    """Git keeps no such modes: they are of this machine, and no breach of the author's."""

    def closed(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("verifier.intake.bounded_files.os.open", closed)
    with pytest.raises(SubmissionUnreadableError, match="Permission denied; get the right to read"):
        load_submission(folder)


def test_a_folder_that_is_too_large_is_told_the_limit(folder: Path) -> None:
    (folder / "small.bin").write_bytes(b"x" * 1000)
    with (folder / "z.bin").open("wb") as large:
        large.truncate(MAX_TOTAL_BYTES)
    with pytest.raises(SubmissionUnreadableError, match=f"more than {MAX_TOTAL_BYTES:,} bytes"):
        load_submission(folder)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number}.py").touch()
    with pytest.raises(SubmissionUnreadableError, match="leave out data"):
        load_submission(tmp_path)


NAMES = [
    "submission.json",
    "train.log",
    "a.txt",
    "README.md",
    "pgolf.yaml",
    "train_gpt.py",
    "b.model",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2000), min_size=1))
def test_any_bytes_in_any_file_load(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert {str(file.path) for file in load_submission(folder).files} == set(files)
