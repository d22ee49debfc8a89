"""OpenAI's API with OpenAI's own client, against models of real MLflow and against one without it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from tests.scoring_server.serving_process import (
    logged_models,
    serving,
    serving_models,
    write_config,
)

MESSAGES: Any = [{"role": "user", "content": "hi"}]
# Counts as far as it is asked to, and leaves a file when it is stopped.
COUNTS = """
import pathlib

ENDED = pathlib.Path(__file__).with_name("ended")

class Model:
    def predict(self, model_input, params=None):
        return {"content": "whole"}

    def predict_stream(self, model_input, params=None):
        try:
            for number in range(model_input["count"]):
                yield {"content": str(number)}
        finally:
            ENDED.touch()

def _load_pyfunc(path):
    return Model()
"""
ENDLESS = 10**9


def config_of(folder: Path, **server: Any) -> Path:
    """The configuration for a model that chats and streams, by the name `counter`."""
    path = write_config(folder, COUNTS, **server)
    document = json.loads(path.read_text())
    model = document["model"]
    model.update(names=["counter"], signature=None, metadata={"task": "llm/v1/chat"})
    model["flavors"]["python_function"]["streamable"] = True
    path.write_text(json.dumps(document))
    return path


def client_of(url: str, key: str = "-") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server with a token, and the file that its model leaves."""
    folder = tmp_path_factory.mktemp("counter")
    (folder / "token").write_text("sesame")
    config = config_of(folder / "model", token_file=str(folder / "token"))
    with serving(config) as (url, _):
        yield url, folder / "model" / "code" / "ended"


def test_the_token_is_the_api_key(counter: tuple[str, Path]) -> None:
    url, _ = counter
    asked: Any = {"model": "counter", "messages": MESSAGES}
    answer = client_of(url, "sesame").chat.completions.create(**asked)
    assert (answer.choices[0].message.content, answer.model) == ("whole", "counter")
    with pytest.raises(openai.AuthenticationError, match="token"):
        client_of(url, "other").chat.completions.create(**asked)
    with pytest.raises(openai.NotFoundError, match="counter") as caught:
        client_of(url, "sesame").chat.completions.create(**{**asked, "model": "other"})
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="The model has /v1/chat/completions"):
        client_of(url, "sesame").embeddings.create(model="counter", input="a")
    assert [each.id for each in client_of(url, "sesame").models.list()] == ["counter"]


def test_a_stream_sync_and_async(counter: tuple[str, Path]) -> None:
    url, _ = counter
    asked: Any = {
        "model": "counter",
        "messages": MESSAGES,
        "stream": True,
        "extra_body": {"count": 3},
    }
    chunks = list(client_of(url, "sesame").chat.completions.create(**asked))
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "012"
    assert chunks[-1].choices[0].finish_reason == "stop"

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sesame") as client:
            stream = await client.chat.completions.create(**asked)
            return "".join([each.choices[0].delta.content or "" async for each in stream])

    assert asyncio.run(ask()) == "012"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/invocations"])
def test_a_client_that_goes_stops_the_model(path: str, counter: tuple[str, Path]) -> None:
    url, ended = counter
    ended.unlink(missing_ok=True)
    body = {"messages": MESSAGES, "stream": True, "count": ENDLESS}
    headers = {"Authorization": "Bearer sesame", "Accept": "text/event-stream"}
    with requests.post(url + path, json=body, headers=headers, stream=True, timeout=60) as answer:
        assert next(answer.iter_lines()).startswith(b"data: ")
        assert not ended.exists()
    wait_for(ended)
    # Its worker has time for others again.
    body["count"] = 1
    answer = requests.post(url + path, json=body, headers=headers, timeout=60)
    assert answer.text.endswith("[DONE]\n\n")


# --- models of real MLflow -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(
    oracle_python: str, launcher_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The address below which each model has its name, and the file that streams leave."""
    ended = tmp_path_factory.mktemp("real") / "ended"
    models = logged_models(oracle_python, "log_openai_models.py", launcher_home, "-openai")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDED", str(ended))
        script = "serve_openai.py"
        with serving_models(oracle_python, script, models, launcher_home) as url:
            yield url, ended


def content(completion: Any) -> str | None:
    text: str | None = completion.choices[0].message.content
    return text


def texts(chunks: Any) -> str:
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


@pytest.mark.slow
def test_chat_models(real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/chat")
    asked: Any = {"model": "chat", "messages": MESSAGES}
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "parts"}]}]
    found = client.chat.completions.create(
        model="chat", messages=parts, stop="x", max_completion_tokens=7,
        temperature=0.5, extra_body={"custom_inputs": {"a": 1}, "unknown": [1, 2]},
    )  # fmt: skip
    assert content(found) == "parts 7 ['x'] {'a': 1}"
    assert found.usage is not None
    assert (found.object, found.model, found.usage.total_tokens) == ("chat.completion", "chat", 0)
    assert found.model_extra == {"custom_outputs": {"seen": 1}}
    # A conversation goes on with what was answered.
    again = client.chat.completions.create(
        model="chat", messages=[*MESSAGES, found.choices[0].message, *MESSAGES]
    )
    assert again.model_extra == {"custom_outputs": {"seen": 3}}
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options=options))
    assert texts(chunks) == "hi0 hi1 "
    assert len({each.id for each in chunks}) == 1
    assert chunks[-1].usage.completion_tokens == 2
    with client.chat.completions.stream(**asked) as stream:
        final = [event.type for event in stream][-1:] and stream.get_final_completion()
    assert (content(final), final.choices[0].message.role) == ("hi0 hi1 ", "assistant")
    failing: Any = [{"role": "user", "content": "fail"}]
    with pytest.raises(openai.APIError, match="halfway"):
        list(client.chat.completions.create(model="chat", messages=failing, stream=True))


@pytest.mark.slow
def test_a_chat_model_that_cannot_stream(real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/whole-chat")
    chunks = list(
        client.chat.completions.create(model="whole-chat", messages=MESSAGES, stream=True)
    )
    assert texts(chunks) == "hi None None None"
    assert [each.choices[0].finish_reason for each in chunks] == ["stop"]
    # MLflow's own form on its own route: one JSON, whatever the payload says.
    body = {"messages": MESSAGES, "stream": True}
    answer = requests.post(f"{real[0]}/whole-chat/invocations", json=body, timeout=60)
    assert answer.json()["choices"][0]["message"]["content"] == "hi None None None"


@pytest.mark.slow
def test_agents(real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/agent")
    asked: Any = {"model": "agent", "messages": MESSAGES}
    found = client.chat.completions.create(**asked, extra_body={"context": {"user_id": "u"}})
    assert content(found) == "Let me see.\n\nIt is 42, hi."
    assert found.choices[0].message.tool_calls is None
    assert found.model_extra is not None
    assert [each["id"] for each in found.model_extra["messages"]] == ["1", "2", "3"]
    assert found.model_extra["custom_outputs"]["context"]["user_id"] == "u"
    assert texts(client.chat.completions.create(**asked, stream=True)) == content(found)
    call: Any = {"extra_body": {"custom_inputs": {"call": True}}}
    for message in (
        client.chat.completions.create(**asked, **call).choices[0].message,
        streamed(client, {**asked, **call}).choices[0].message,
    ):
        assert message.tool_calls[0].function.name == "f"
        # The client's part of the turn, and back.
        result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "1", "name": "f"}
        messages = [*MESSAGES, message, result, *MESSAGES]
        again = client.chat.completions.create(model="agent", messages=messages)
        assert content(again) == content(found)


def streamed(client: openai.OpenAI, asked: dict[str, Any]) -> Any:
    """What the package makes of a stream when it has ended."""
    with client.chat.completions.stream(**asked) as stream:
        return stream.get_final_completion()


@pytest.mark.slow
def test_responses_agents(real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/responses")
    asked: Any = {"model": "responses", "input": "a b", "extra_body": {"custom_inputs": {"x": 1}}}
    found = client.responses.create(**asked)
    assert (found.output_text, found.model, found.status) == ("ab", "responses", "completed")
    assert [each.type for each in found.output] == ["function_call", "message"]
    assert found.model_extra == {"custom_outputs": {"x": 1}}
    events = list(client.responses.create(**asked, stream=True))
    assert "".join(each.delta for each in events if each.type.endswith("text.delta")) == "ab"
    assert events[-1].response.output == found.output
    # This one counts: an event that is missing or out of place is an error to it.
    with client.responses.stream(**asked) as stream:
        assert [event.type for event in stream] == [event.type for event in events]
        assert stream.get_final_response().output_text == "ab"
    again = client.responses.create(
        model="responses", input=[*found.output, {"role": "user", "content": "c"}]
    )
    assert again.output_text == "c"
    with pytest.raises(openai.APIError, match="halfway"):
        list(client.responses.create(model="responses", input="a fail", stream=True))
    whole = client_of(f"{real[0]}/whole-responses")
    assert whole.responses.create(model="whole-responses", input="a").output_text == "a!"
    with whole.responses.stream(model="whole-responses", input="a") as stream:
        assert "response.output_text.delta" in [event.type for event in stream]
        assert stream.get_final_response().output_text == "a!"


@pytest.mark.slow
def test_async_clients(real: tuple[str, Path]) -> None:
    async def ask() -> tuple[str, str, Any]:
        def client(name: str) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(base_url=f"{real[0]}/{name}/v1", api_key="-", max_retries=0)

        async with client("agent") as agent, client("responses") as responses:
            stream = await agent.chat.completions.create(
                model="agent", messages=MESSAGES, stream=True
            )
            said = texts([chunk async for chunk in stream])
            async with responses.responses.stream(model="responses", input="a b") as events:
                final = await events.get_final_response()
        async with client("embeddings") as embeddings:
            found = await embeddings.embeddings.create(model="embeddings", input=["abc"])
        return said, final.output_text, found.data[0].embedding

    assert asyncio.run(ask()) == ("Let me see.\n\nIt is 42, hi.", "ab", [3.0, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embeddings", "tables"])
def test_embedding_models(name: str, real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/{name}")
    # The package asks for base64 unless it is told otherwise.
    for more in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        found = client.embeddings.create(model=name, input=["abc", "d"], **more)  # type: ignore[arg-type]
        assert found.model == name
        if "base64" not in more.values():
            assert [each.embedding for each in found.data] == [[3.0, 0.5], [1.0, 0.5]]
    assert client.embeddings.create(model=name, input="abc").data[0].embedding == [3.0, 0.5]


@pytest.mark.slow
def test_completion_models(real: tuple[str, Path]) -> None:
    client = client_of(f"{real[0]}/completions")
    found = client.completions.create(model="completions", prompt=["a", "b"])
    assert [(each.index, each.text) for each in found.choices] == [(0, "a..."), (1, "b...")]
    (chunk,) = client.completions.create(model="completions", prompt="a", stream=True)
    assert (chunk.choices[0].text, chunk.object) == ("a...", "text_completion")
    with pytest.raises(openai.NotFoundError, match="no part of OpenAI's API"):
        client_of(f"{real[0]}/neither").completions.create(model="neither", prompt="a")


@pytest.mark.slow
def test_clients_that_go_stop_models_of_mlflow(real: tuple[str, Path]) -> None:
    url, ended = real
    body: dict[str, Any] = {"messages": MESSAGES, "custom_inputs": {"count": ENDLESS}}
    headers = {"Accept": "text/event-stream"}
    for path in ("v1/chat/completions", "invocations"):
        ended.unlink(missing_ok=True)
        sent = {**body, "stream": True}
        with requests.post(
            f"{url}/chat/{path}", json=sent, headers=headers, stream=True, timeout=60
        ) as answer:
            assert next(answer.iter_lines()).startswith(b"data: ")
        wait_for(ended)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, "the model's generator goes on"
        time.sleep(0.01)
