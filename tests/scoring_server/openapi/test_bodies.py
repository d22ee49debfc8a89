"""What the server answers fits the description, and what the description asks for is answered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scoring_server.errors import ScoringError
from scoring_server.formats import json_body
from scoring_server.formats.parsing import FORMAT_KEYS
from tests.scoring_server.cases import CASES, JSON, Case
from tests.scoring_server.openapi.signatures import SIGNATURES, echo
from tests.scoring_server.openapi.values import values

SENT = {
    name: [
        case
        for cases in CASES.values()
        for case in cases
        if case.model == name and case.content_type == JSON
    ]
    for name in SIGNATURES
}


def decoded(case: Case) -> Any:
    """The case's body as a client sees it; None where it is no JSON that has a meaning."""
    try:
        return json_body.loads(case.body)
    except ScoringError:
        return None


@pytest.mark.parametrize("name", SIGNATURES)
def test_no_body_is_answered_that_the_description_forbids(name: str) -> None:
    server = echo(name)
    validator = server.validator(server.body()["schema"])
    wrong = [
        case.body
        for case in SENT[name]
        if server.send("/invocations", case.body).status == 200
        and not validator.is_valid(decoded(case))
    ]
    assert not wrong


# Rows of what is nested cannot be sent as columns of arrays.
NOT_AS_INSTANCES = {"chat_payload", "nested", "one_array", "array_of_times"}


def exact_forms(name: str) -> dict[str, Any]:
    """What clients should send, by the key that it is sent with: the first of each form's schemas."""
    schemas = echo(name).document["components"]["schemas"]
    forms = {
        key: schema["properties"][key]
        for schema in schemas.values()
        for key in FORMAT_KEYS
        if key in schema.get("properties", {}) and schema["required"] == [key]
    }
    if name in NOT_AS_INSTANCES:
        del forms["instances"]
    return {key: form["anyOf"][0] for key, form in forms.items() if "anyOf" in form}


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_the_description_asks_for_is_answered(name: str) -> None:
    server, forms = echo(name), exact_forms(name)
    accepts = server.validator(server.body()["schema"]).is_valid

    @settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(st.data())
    def answered(data: st.DataObject) -> None:
        for form, schema in forms.items():
            value = data.draw(values(schema, server.document))
            answer = server.send("/invocations", {form: value})
            assert answer.status == 200, (form, value, answer.body)
            assert accepts({form: value}), (form, value)

    answered()
