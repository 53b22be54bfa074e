"""SARIF: valid by the standard's own schema, and every rule told by the right kind."""

import json
from collections import Counter

import jsonschema
import pytest
from evil_verdicts import EVIL, RIGHT_TO_LEFT, SCHEMAS, verdict

from verifier.reports.sarif import MAX_RESULTS, render_sarif
from verifier.rulebook import load_rules


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_text())
    return jsonschema.Draft4Validator(schema)


@pytest.mark.parametrize("text", ["plain", EVIL, RIGHT_TO_LEFT])
def test_it_is_valid(dossier, validator, text):
    log = json.loads(render_sarif([dossier(verdict(text, 500)), dossier(verdict(text))]))
    validator.validate(log)
    assert len(log["runs"]) == 2


def test_the_schema_refuses_what_is_wrong(validator):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"version": "2.1.0", "runs": [{"results": []}]})


def test_every_rule_has_a_result_of_its_kind(dossier):
    [run] = json.loads(render_sarif([dossier(verdict("x", 2))]))["runs"]
    kinds = Counter((result["kind"], result["level"]) for result in run["results"])
    assert kinds == {
        ("fail", "error"): 2,
        ("fail", "warning"): 2,
        ("open", "none"): 1,
        ("pass", "none"): 1,
        ("notApplicable", "none"): len(load_rules()) - 4,
    }
    assert {result["ruleId"] for result in run["results"]} == set(load_rules())


def test_results_stand_on_the_files_of_the_repository(dossier):
    [run] = json.loads(render_sarif([dossier(verdict("x"), "records/a b")]))["runs"]
    [place] = run["results"][0]["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "records/a%20b/x.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 3},
    }


def test_what_is_left_out_is_counted(dossier):
    [run] = json.loads(render_sarif([dossier(verdict("x", 10_000))]))["runs"]
    assert len(run["results"]) == MAX_RESULTS
    left_out = run["properties"]["results_left_out"]
    assert left_out == 20_000 + len(load_rules()) - 2 - MAX_RESULTS
