"""`predict_stream` of models that MLflow logged, as server-sent events."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.slow

MESSAGES = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
EVENTS = {"Accept": "text/event-stream"}


def events(url: str, model: str, body: dict[str, Any]) -> list[Any]:
    response = requests.post(f"{url}/{model}/invocations", json=body, headers=EVENTS, timeout=60)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/event-stream"
    *found, last = response.text.split("\n\n")[:-1]
    assert last == "data: [DONE]"
    return [json.loads(event[len("data: ") :]) for event in found]


def test_chat_model(our_url: str) -> None:
    found = events(our_url, "chat_model", {"messages": MESSAGES})
    contents = [chunk["choices"][0]["delta"]["content"] for chunk in found]
    assert contents == ["one", "two"]
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}


def test_responses_agent(our_url: str) -> None:
    found = events(our_url, "responses_agent", {"input": MESSAGES})
    assert [event["delta"] for event in found] == ["one", "two"]


def test_python_model(our_url: str) -> None:
    found = events(our_url, "stream", {"prompt": "p", "count": 2})
    assert found[1:] == [{"number": 0}, {"number": 1}]


def test_the_first_event_does_not_wait_for_the_last(our_url: str) -> None:
    body = {"prompt": "p", "count": 10**7}
    with requests.post(
        f"{our_url}/stream/invocations", json=body, headers=EVENTS, stream=True, timeout=60
    ) as response:
        first = next(response.iter_lines())
        assert first.startswith(b"data: ")
    # Abandoned by its client, the endless stream frees the model.
    assert events(our_url, "stream", {"prompt": "p", "count": 1})


def test_an_answer_as_a_whole_without_asking_for_a_stream(our_url: str, mlflow_url: str) -> None:
    for model, body in (
        ("chat_model", {"messages": MESSAGES}),
        # To MLflow `stream` is the model's own parameter.
        ("chat_model", {"messages": MESSAGES, "stream": True}),
        ("responses_agent", {"input": MESSAGES, "stream": True}),
    ):
        ours, theirs = (
            requests.post(f"{url}/{model}/invocations", json=body, timeout=60)
            for url in (our_url, mlflow_url)
        )
        assert ours.headers["Content-Type"] == "application/json"
        ours_body, theirs_body = ours.json(), theirs.json()
        for answer in (ours_body, theirs_body):
            # Made anew for each answer.
            for name in ("id", "created", "created_at"):
                answer.pop(name, None)
        assert ours_body == theirs_body
