"""JUnit XML: accepted by the schema of a CI server, and counted as the verdict counts."""

from xml.etree import ElementTree

import pytest
import xmlschema
from evil_verdicts import EVIL, RIGHT_TO_LEFT, SCHEMAS, verdict

from verifier.reports.junit import MAX_FINDINGS, render_junit


@pytest.fixture(scope="module")
def schema():
    return xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")


@pytest.mark.parametrize("text", ["plain", EVIL, RIGHT_TO_LEFT])
def test_it_is_valid(schema, text):
    schema.validate(render_junit([verdict(text, 500), verdict(text)]))


def test_the_schema_refuses_what_is_wrong(schema):
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate("<testsuites><testcase/></testsuites>")


def test_only_what_rejects_is_a_failure():
    suite = ElementTree.fromstring(render_junit([verdict("x")]))[0]
    counts = {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")}
    assert counts == {"tests": "4", "failures": "1", "skipped": "1", "errors": "0"}
    [failed] = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == "failed_run"


def test_a_failure_names_file_and_line():
    suite = ElementTree.fromstring(render_junit([verdict("x", 500)]))[0]
    told = suite.find("testcase/failure").text.splitlines()
    assert told[0] == "x.py:3: x | x"
    assert told[-1] == f"and {500 - MAX_FINDINGS} more"
