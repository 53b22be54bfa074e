import json

import pytest

from trainer.data.manifest import read_manifest, write_manifest
from trainer.errors import DataError


def test_what_is_written_is_read_back(jargon_build, tmp_path):
    manifest = read_manifest(jargon_build)
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_folder_without_manifest_has_none(tmp_path):
    assert read_manifest(tmp_path) is None


def alter(key, value):
    def change(content):
        content[key] = value
        return json.dumps(content)

    return change


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda content: "{", "file"),
        (alter("schema_version", 2), "schema_version"),
        (alter("extra", 1), "extra"),
        (alter("train", {}), r"train\.num_documents"),
    ],
)
def test_foreign_or_torn_manifest_is_one_line(jargon_build, tmp_path, change, where):
    content = json.loads((jargon_build / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(change(content))
    with pytest.raises(DataError, match=rf"manifest\.json: not a manifest .*{where}") as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)
