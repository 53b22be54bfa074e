"""The rule profiles that ship, and the schema that refuses the rest."""

import pytest

from verifier.errors import RulebookError
from verifier.rulebook import rules_folder
from verifier.schemas.profile_yaml import load_profiles

FOLDER = rules_folder() / "profiles"
GRADES = ("absent", "observed", "configured", "proved")
PROFILES = load_profiles(FOLDER)


def test_three_profiles_ship_the_strictest_first():
    assert list(PROFILES) == ["readme-strict", "leaderboard-apr29", "grace-may02"]


@pytest.mark.parametrize("name", ["leaderboard-apr29", "grace-may02"])
def test_the_written_rule_is_the_strictest(name):
    strict, applied = PROFILES["readme-strict"], PROFILES[name]
    assert (strict.margin.value, strict.alpha) == (0.005, 0.01)
    assert (applied.margin.value, applied.alpha) == (0, 0.25)
    for guarantee, grade in applied.minimum_guarantees.items():
        assert GRADES.index(strict.minimum_guarantees[guarantee]) >= GRADES.index(grade)


def test_the_written_rule_trusts_no_clock_or_process_of_the_submission():
    minimum = PROFILES["readme-strict"].minimum_guarantees
    for name in ("network", "file_writes", "secrets", "process_leaks", "clock_outside"):
        assert minimum[name] in ("configured", "proved")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("alpha: 0.01", "alpha: 1"),
        ("test: welch", "test: wilcoxon"),
        ("nats_per_token", "nats"),
        ("clock: loop_plus_calibration", "clock: sundial"),
        ("byte_count: literal", "byte_count: zipped"),
        ("network: configured", "network: promised"),
        ("network: configured", "telepathy: configured"),
        ("test: welch", "test: welch\nunknown: 1"),
    ],
)
def test_a_profile_outside_the_schema_is_refused(tmp_path, good, bad):
    text = (FOLDER / "readme-strict.yaml").read_text()
    assert good in text
    path = tmp_path / "readme-strict.yaml"
    path.write_text(text.replace(good, bad))
    with pytest.raises(RulebookError, match="readme-strict.yaml"):
        load_profiles(tmp_path)


def test_all_mistakes_are_named_together_on_one_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("id: mine\nalpha: 2\nmargin: {value: -1, unit: nats_per_token}\n")
    with pytest.raises(RulebookError) as error:
        load_profiles(tmp_path)
    line = str(error.value)
    assert "\n" not in line
    assert all(place in line for place in ("alpha", "margin.value", "title", "clock"))


@pytest.mark.parametrize(
    ("name", "extra", "mistake"),
    [("other", "", "rename"), ("readme-strict", "alpha: 0.5\n", "stands twice")],
)
def test_a_profile_is_named_for_its_id_and_says_each_thing_once(tmp_path, name, extra, mistake):
    text = (FOLDER / "readme-strict.yaml").read_text()
    (tmp_path / f"{name}.yaml").write_text(text + extra)
    with pytest.raises(RulebookError, match=mistake):
        load_profiles(tmp_path)


def test_a_folder_without_profiles_is_refused(tmp_path):
    with pytest.raises(RulebookError, match="no profiles"):
        load_profiles(tmp_path)
