import shutil
from pathlib import Path

import pytest

from verifier.errors import RulebookError, UsageError
from verifier.rulebook import load_rulebook, rules_folder

TRACKS = sorted(path.stem for path in (rules_folder() / "tracks").glob("*.yaml"))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(rules_folder(), tmp_path / "rules"))


def test_the_three_tracks_are_there():
    assert TRACKS == ["10min_16mb", "demo", "non_record_16mb"]


@pytest.mark.parametrize("track", TRACKS)
def test_track_loads_with_every_rule_it_names(track):
    rulebook = load_rulebook(track)
    assert list(rulebook.rules) == list(rulebook.track.rules)
    assert len(rulebook.profiles) == 3


def test_numbers_of_the_record_track_have_unit_and_source():
    limits = load_rulebook("10min_16mb").track.limits
    assert (limits.artifact_bytes.value, limits.artifact_bytes.unit) == (16_000_000, "bytes")
    assert all(quantity.source for _, quantity in limits)


@pytest.mark.parametrize("damage", ["missing", "broken_yaml", "extra_key", "renamed"])
def test_a_rule_that_cannot_load_is_fatal(rules, damage):
    path = rules / "oversized_artifact.yaml"
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(
            {
                "broken_yaml": text + "\n: [",
                "extra_key": text + "\nwaived: true\n",
                "renamed": text.replace("id: oversized_artifact", "id: other"),
            }[damage]
        )
    with pytest.raises(RulebookError, match=r"oversized_artifact\.yaml"):
        load_rulebook("10min_16mb", rules)


def test_every_mistake_of_a_file_is_named_at_once(rules):
    path = rules / "too_few_seeds.yaml"
    path.write_text(path.read_text().replace("stage: static", "stage: later\ncolour: red"))
    with pytest.raises(RulebookError, match="stage.*colour"):
        load_rulebook("10min_16mb", rules)


def test_changed_rule_changes_the_rulebooks_hash(rules):
    before = load_rulebook("10min_16mb", rules).sha256
    path = rules / "too_few_seeds.yaml"
    path.write_text(path.read_text() + "\n# a word more\n")
    assert load_rulebook("10min_16mb", rules).sha256 != before


def test_unknown_names_list_what_there_is():
    with pytest.raises(UsageError, match="there are 10min_16mb, demo"):
        load_rulebook("nope")
    with pytest.raises(UsageError, match="leaderboard-apr29"):
        load_rulebook().profile("nope")
