"""The same request to MLflow's scoring server and to ours: what a client sees is the same."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from tests.scoring_server.cases import CASES, CSV, JSON, Case
from tests.scoring_server.comparing import Answer, deliberate, difference, send
from tests.scoring_server.payloads import payloads

pytestmark = pytest.mark.slow

# Both servers run on this machine's cores; more requests at a time would only wait.
CONNECTIONS = 4
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "300"))


def differences(cases: list[Case], mlflow_url: str, our_url: str) -> list[str]:
    def compare(case: Case) -> str | None:
        return difference(case, send(mlflow_url, case), send(our_url, case))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [text for text in pool.map(compare, cases) if text is not None]


@pytest.mark.parametrize("group", list(CASES))
def test_hand_picked(group: str, mlflow_url: str, our_url: str) -> None:
    found = differences(CASES[group], mlflow_url, our_url)
    assert not found, f"{len(found)} of {len(CASES[group])}:\n" + "\n".join(found[:20])


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # The same examples in every run; another number of them for a search of one's own.
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(case=payloads())
def test_generated(case: Case, mlflow_url: str, our_url: str) -> None:
    found = difference(case, send(mlflow_url, case), send(our_url, case))
    assert found is None, found


def test_the_answers_are_answers(mlflow_url: str) -> None:
    # A model that raised for every kind would make all comparisons of answers void.
    statuses = [send(mlflow_url, case).status for case in CASES["answers"]]
    assert statuses.count(200) > 0.8 * len(statuses)


def test_at_least_25_models(oracle_models: object) -> None:
    models = {case.model for group in CASES.values() for case in group}
    assert len(models) >= 25


def test_routes_beside_invocations(mlflow_url: str, our_url: str) -> None:
    for path in ("/ping", "/health"):
        theirs = requests.get(f"{mlflow_url}/doubles{path}", timeout=60)
        ours = requests.get(f"{our_url}/doubles{path}", timeout=60)
        assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content)
        assert theirs.headers["Content-Type"] == ours.headers["Content-Type"]
    theirs = requests.get(f"{mlflow_url}/doubles/version", timeout=60)
    ours = requests.get(f"{our_url}/doubles/version", timeout=60)
    # The models were logged by the MLflow that serves them here.
    assert (theirs.status_code, theirs.text) == (ours.status_code, ours.text)


def test_the_comparison_sees_differences() -> None:
    case = Case("doubles", b'{"inputs": [1]}', JSON)
    fine = Answer(200, {"predictions": [1]}, "")
    assert difference(case, fine, Answer(200, {"predictions": [1]}, "")) is None
    for ours in (
        Answer(200, {"predictions": [2]}, ""),
        Answer(400, {"error_code": "BAD_REQUEST"}, ""),
        Answer(500, {"error_code": "INTERNAL_ERROR"}, ""),
    ):
        assert difference(case, fine, ours) is not None
    refused = Answer(400, {"error_code": "BAD_REQUEST"}, "")
    assert difference(case, refused, fine) is not None
    assert not deliberate(Case("doubles", b"[1]", CSV), refused, Answer(503, {}, ""))
