"""Send one request to both servers and compare what a client can see."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from typing import Any

import requests

from tests.scoring_server.cases import CSV, Case

_thread = threading.local()


@dataclass
class Answer:
    """A status and the parsed JSON of the body (the text where it is not JSON)."""

    status: int
    body: Any
    text: str

    @property
    def error_code(self) -> Any:
        """MLflow's name for the error, or None."""
        return self.body.get("error_code") if isinstance(self.body, dict) else None


def send(url: str, case: Case) -> Answer:
    """Post the case's request to the server at `url`."""
    if not hasattr(_thread, "session"):
        _thread.session = requests.Session()
    response = _thread.session.post(
        f"{url}/{case.model}/invocations",
        data=case.body,
        headers={"Content-Type": case.content_type},
        timeout=60,
    )
    try:
        body = without_nan(json.loads(response.content))
    except ValueError:
        body = response.text
    return Answer(response.status_code, body, response.text)


def without_nan(value: Any) -> Any:
    """The value with None for NaN and infinities: the one difference in all answers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return value


def difference(case: Case, theirs: Answer, ours: Answer) -> str | None:
    """Describe how the answers differ beyond the deliberate differences; None if they do not."""
    if theirs.status == ours.status == 200:
        same = theirs.body == ours.body
    else:
        same = theirs.status == ours.status and theirs.error_code == ours.error_code
    if same or deliberate(case, theirs, ours):
        return None
    return (
        f"{case.model} {case.content_type} {case.body[:300]!r}\n"
        f"  MLflow {theirs.status} {theirs.text[-500:]}\n"
        f"  ours   {ours.status} {ours.text[:500]}"
    )


def deliberate(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether the difference is one of those that docs/scoring-protocol.md lists."""
    if ours.status >= 500:
        return False
    # More requests succeed, and never fewer.
    if theirs.status == 200:
        return ours.status == 200 and _missing_stays_missing(case, theirs)
    is_list = case.body.lstrip()[:1] == b"["
    csv = case.content_type == CSV and any(
        words in theirs.text for words in ("TensorSpec only", "pandas types", "parse_dates")
    )
    times = any(
        words in theirs.text
        for words in ("str to datetime64", "timezone-naive", "ISO8601", "tz-aware")
    )
    optional_binary = "encoding without a string argument" in theirs.text
    # Which of two codes for 400 a name sent twice gets, depends on chance in MLflow.
    twice = "no attribute 'dtype'" in theirs.text and ours.status == 400
    ragged = "inhomogeneous" in theirs.text or "maximum number of dimension" in theirs.text
    not_json = theirs.status == 500 and ours.status in (200, 400)
    return any((is_list, csv, times, optional_binary, twice, ragged, not_json))


def _missing_stays_missing(case: Case, theirs: Answer) -> bool:
    """MLflow before 3.18 makes the text "None" and False of null in `inputs` and `instances`."""
    return b"null" in case.body and any(
        words in theirs.text for words in ("'None'", "NoneType", "bool(False)", "nan")
    )
