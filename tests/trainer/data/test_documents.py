import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.documents import read_documents, shipped_corpus, source_files, text_hashes
from trainer.errors import DataError


def texts(*paths):
    return [document.text for document in read_documents(list(paths))]


@given(rows=st.lists(st.text(min_size=1).filter(str.strip), max_size=5), escape=st.booleans())
def test_jsonl_gives_one_document_a_line(tmp_path_factory, rows, escape):
    path = tmp_path_factory.mktemp("jsonl") / "docs.jsonl"
    lines = (json.dumps({"text": text, "id": 3}, ensure_ascii=escape) + "\n" for text in rows)
    path.write_bytes("".join(lines).encode())
    assert texts(path) == rows


def test_folder_gives_its_texts_in_order_of_their_paths(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.md").write_text("two")
    (tmp_path / "a.txt").write_text("one\nline")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n{"text": "four"}')
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert texts(*source_files(tmp_path)) == ["one\nline", "two", "three", "four"]


def test_source_bytes_add_up_to_the_file(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "é"}\n{"text": "b"}\n')
    assert sum(document.source_bytes for document in read_documents([path])) == path.stat().st_size


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "not UTF-8"),
        (b'{"body": "x"}', 'no "text" string'),
        (b'{"text": 7}', 'no "text" string'),
        (b'["text"]', 'no "text" string'),
        (b'{"text": " \\n"}', "empty"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_bad_line_is_named_with_its_number(tmp_path, line, reason):
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"docs\.jsonl:2: .*{reason}"):
        texts(path)


@pytest.mark.parametrize(("content", "reason"), [(b"caf\xe9", "at byte 3"), (b"\n", "empty")])
def test_bad_text_file_is_named(tmp_path, content, reason):
    (tmp_path / "note.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"note\.txt: .*{reason}"):
        texts(tmp_path / "note.txt")


def test_source_without_documents_is_refused(tmp_path):
    with pytest.raises(DataError, match="no .jsonl, .txt or .md"):
        source_files(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        source_files(tmp_path / "absent")


def test_normalised_hash_sees_letters_and_digits_alone():
    exact, normalised = text_hashes("The  Fox, 1-2_3!")
    assert text_hashes("the fox 123")[1] == normalised
    assert text_hashes("the fox 123")[0] != exact
    assert text_hashes("the fox 124")[1] != normalised
    assert text_hashes("…")[1] != text_hashes("!?")[1]


def test_unknown_corpus_lists_the_shipped_ones():
    with pytest.raises(DataError, match="no such corpus; choose from: jargon"):
        shipped_corpus("nope")
