"""OpenAI's API, with models that behave as MLflow's interfaces do, but are loaded without it."""

from __future__ import annotations

import base64
import json

import pytest

from scoring_server.config import ModelConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.openai.api import path_of
from scoring_server.protocols.openai.protocol import OpenAIProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from scoring_server.service import Batching

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT, AGENT, RESPONSES = "agent/v1/chat", "agent/v2/chat", "agent/v1/responses"

# Answers with what the request's `answer` holds, streams what its `chunks` hold.
TELLS = """
    class Model:
        def predict(self, model_input, params=None):
            answer = model_input["answer"]
            return {"content": repr([model_input, params])} if answer == "seen" else answer

        def predict_stream(self, model_input, params=None):
            for chunk in model_input["chunks"]:
                if chunk == "fail":
                    raise ValueError("halfway")
                if chunk == "not implemented":
                    raise NotImplementedError
                yield chunk
"""


@pytest.fixture(scope="module")
def clients(shared_models):
    """A client of a model of each task; without a task the model is none of the API's."""
    tasks = (CHAT, AGENT, RESPONSES, "llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings", None)
    return {
        task: shared_models.client(
            TELLS, flavor={"streamable": True}, metadata={"task": task}, names=["m", "other"],
            utc_time_created="2020-01-01T00:00:10+00:00",
        )
        for task in tasks
    }  # fmt: skip


def post(client, path, body, status=200):
    response = client.post("/v1" + path, data=json.dumps(body), content_type="application/json")
    assert response.status_code == status, response.get_data()
    return response


def chat(client, **body):
    return post(client, "/chat/completions", {"messages": MESSAGES, **body}).get_json()


def events(response):
    """The data of a stream's events; the text of those that are no JSON."""
    assert response.headers["Content-Type"].startswith("text/event-stream")
    blocks = response.get_data(as_text=True).split("\n\n")[:-1]
    found = [block.partition("data: ")[2] for block in blocks]
    return [text if text == "[DONE]" else json.loads(text) for text in found]


def chunks_of(client, *chunks, **body):
    sent = {"messages": MESSAGES, "stream": True, "chunks": chunks, **body}
    *found, last = events(post(client, "/chat/completions", sent))
    assert last == "[DONE]"
    return found


# --- routes and errors ---------------------------------------------------------------------------


def test_models(clients):
    card = {"id": "m", "object": "model", "created": 1577836810, "owned_by": "mlmodel-launcher"}
    client = clients[CHAT]
    assert client.get("/v1/models").get_json() == {"object": "list", "data": [card]}
    assert client.get("/v1/models/m").get_json() == card
    assert client.get("/v1/models/other").get_json()["id"] == "other"
    response = client.get("/v1/models/x")
    assert response.status_code == 404
    assert response.get_json()["error"] == {
        "message": "No model 'x' is served here: ask for 'm'.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (CHAT, "/chat/completions"),
        (AGENT, "/chat/completions"),
        (RESPONSES, "/responses"),
        ("llm/v1/chat", "/chat/completions"),
        ("llm/v1/completions", "/completions"),
        ("llm/v1/embeddings", "/embeddings"),
        (None, None),
    ],
)
def test_a_model_has_its_path_and_no_other(clients, task, path):
    paths = ("/chat/completions", "/responses", "/completions", "/embeddings")
    for each in paths:
        status = 400 if each == path else 404
        error = post(clients[task], each, {}, status).get_json()["error"]
        assert error["type"] == "invalid_request_error"
        if path is None:
            assert "no part of OpenAI's API" in error["message"]
        elif status == 404:
            assert f"The model has /v1{path} and /v1/models." in error["message"]
    if path is not None:
        response = clients[task].get("/v1" + path)
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
        assert response.get_json()["error"]["code"] == "endpoint_not_found"


def test_loaders_of_mlflow_say_what_a_model_is():
    found = []
    for name in ("chat_model", "chat_agent", "responses_agent", "code_model"):
        flavor = {"loader_module": "mlflow.pyfunc.loaders." + name}
        found.append(path_of(ModelConfig(flavors={"python_function": flavor})))
    assert found == ["/v1/chat/completions", "/v1/chat/completions", "/v1/responses", None]
    assert path_of(ModelConfig(flavor="crate", metadata={"task": CHAT})) is None


@pytest.mark.parametrize(
    ("task", "path", "body", "param"),
    [
        (CHAT, "/chat/completions", {"model": "x", "messages": MESSAGES}, "model"),
        (CHAT, "/chat/completions", {"model": ["m"], "messages": MESSAGES}, "model"),
        (CHAT, "/chat/completions", {"messages": "hi"}, "messages"),
        (CHAT, "/chat/completions", {"messages": []}, "messages"),
        (CHAT, "/chat/completions", {"messages": ["hi"]}, "messages"),
        (CHAT, "/chat/completions", [], None),
        (RESPONSES, "/responses", {"input": 1}, "input"),
        ("llm/v1/completions", "/completions", {"prompt": [1, 2]}, "prompt"),
        ("llm/v1/embeddings", "/embeddings", {"input": [[1]]}, "input"),
        ("llm/v1/embeddings", "/embeddings", {"input": []}, "input"),
        ("llm/v1/embeddings", "/embeddings", {"input": "a", "encoding_format": "x"}, "encoding_format"),
    ],
)  # fmt: skip
def test_parameters_that_are_wrong(clients, task, path, body, param):
    status = 404 if param == "model" else 400
    error = post(clients[task], path, body, status).get_json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["param"] == param


def test_errors_of_the_server_have_the_form_of_the_api(models, tmp_path):
    (tmp_path / "token").write_text("sesame")
    server = {"token_file": str(tmp_path / "token"), "max_body": 100}
    client = models.client(TELLS, metadata={"task": CHAT}, server=server)
    error = post(client, "/chat/completions", {}, 401).get_json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    response = client.post(
        "/v1/chat/completions", data=b" " * 101, headers={"Authorization": "Bearer sesame"}
    )
    assert (response.status_code, list(response.get_json())) == (413, ["error"])


def test_any_name_of_the_model_is_accepted(clients):
    for name in ("m", "other", None):
        assert chat(clients[CHAT], model=name, answer="a")["model"] == "m"


def test_the_description_has_the_routes_of_the_model(clients):
    for task, client in clients.items():
        document = client.get("/openapi.json").get_json()
        paths = [path for path in document["paths"] if path.startswith("/v1")]
        found = client.application.url_map.iter_rules()
        assert len(paths) == sum(rule.rule.startswith("/v1") for rule in found)
        assert len(paths) == (0 if task is None else 3)
        schemas = document["components"]["schemas"]
        assert ("OpenAIRequest" in schemas) is (task is not None)
        if task is not None:
            (operation,) = [
                document["paths"][path]["post"] for path in paths if "models" not in path
            ]
            assert (
                operation["requestBody"]["content"]["application/json"]["example"]["model"] == "m"
            )
            error = document["components"]["responses"]["openai_400"]["content"]
            assert error["application/json"]["schema"] == {
                "$ref": "#/components/schemas/OpenAIError"
            }


# --- chat ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        ["text"],
        {"role": "assistant", "content": "text"},
        {"choices": [{"message": {"content": "text"}}]},
        [{"choices": [{"message": {"role": "assistant", "content": "text"}, "index": 4}]}],
        {"messages": [{"role": "assistant", "content": "text", "id": "1"}]},
    ],
)
def test_a_chat_completion_is_whole_whatever_the_model_leaves_out(clients, answer):
    for task in (CHAT, "llm/v1/chat"):
        found = chat(clients[task], answer=answer)
        assert found.pop("id").startswith("chatcmpl-")
        assert found.pop("created") > 1577836810
        message = {"role": "assistant", "content": "text", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        assert found == {
            "object": "chat.completion",
            "model": "m",
            "choices": [choice],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }


def test_what_the_model_says_of_its_answer_stays(clients):
    answer = {
        "id": "i", "created": 5, "model": "gpt", "custom_outputs": {"a": 1}, "object": "x",
        "choices": [
            {"message": {"content": "a"}, "finish_reason": "length"},
            {"message": {"content": None, "tool_calls": [{"id": "1"}]}},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": None},
    }  # fmt: skip
    found = chat(clients[CHAT], answer=answer)
    assert [found[key] for key in ("id", "created", "model")] == ["i", 5, "gpt"]
    assert (found["object"], found["custom_outputs"]) == ("chat.completion", {"a": 1})
    assert [each["finish_reason"] for each in found["choices"]] == ["length", "tool_calls"]
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_an_answer_that_is_no_chat_completion(clients):
    body = {"messages": MESSAGES, "answer": {"a": 1}}
    error = post(clients[CHAT], "/chat/completions", body, 500).get_json()["error"]
    assert error["type"] == "server_error"
    assert error["message"] == "The model's answer is no chat completion: it is object."


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TURN = [
    {"role": "assistant", "content": "Wait.", "id": "1", "tool_calls": [CALL]},
    {"role": "tool", "content": "42", "id": "2", "tool_call_id": "c"},
    {"role": "assistant", "content": "It is", "id": "3"},
]


def test_the_messages_of_an_agent_are_one_and_beside_it(clients):
    found = chat(clients[AGENT], answer={"messages": TURN, "custom_outputs": {"a": 1}})
    assert found["choices"][0]["message"]["content"] == "Wait.\n\nIt is"
    assert "tool_calls" not in found["choices"][0]["message"]
    assert (found["messages"], found["custom_outputs"]) == (TURN, {"a": 1})
    # What nobody has answered is for the client to do.
    found = chat(clients[AGENT], answer={"messages": TURN[:1]})
    assert found["choices"][0]["message"]["tool_calls"] == [CALL]
    assert found["choices"][0]["finish_reason"] == "tool_calls"
    assert "messages" not in found


def test_the_stream_of_an_agent_says_the_same(clients):
    told = [{"delta": each} for each in TURN]
    told.append({"delta": {"role": "assistant", "content": " 42.", "id": "3"}})
    found = chunks_of(clients[AGENT], *told)
    deltas = [chunk["choices"][0]["delta"] for chunk in found]
    assert "".join(delta.get("content", "") for delta in deltas) == "Wait.\n\nIt is 42."
    assert not any("tool_calls" in delta for delta in deltas)
    assert [chunk["choices"][0]["finish_reason"] for chunk in found][-2:] == [None, "stop"]
    found = chunks_of(clients[AGENT], told[0])
    assert found[-1]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **CALL}]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_of_chunks(clients):
    told = [
        {"choices": [{"delta": {"role": "assistant", "content": "a"}, "index": 0}], "created": 7},
        {"choices": [{"delta": {"role": "assistant", "content": "b", "name": None}}],
         "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "custom_outputs": {"c": 1}},
    ]  # fmt: skip
    found = chunks_of(clients[CHAT], *told, stream_options={"include_usage": True})
    assert {(each["id"], each["object"], each["created"], each["model"]) for each in found} == {
        (found[0]["id"], "chat.completion.chunk", 7, "m")
    }
    assert [each["choices"] for each in found] == [
        [{"index": 0, "delta": {"role": "assistant", "content": "a"}, "logprobs": None,
          "finish_reason": None}],
        # Clients add the deltas up: the role is said once.
        [{"index": 0, "delta": {"content": "b"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        [],
    ]  # fmt: skip
    assert found[1]["custom_outputs"] == {"c": 1}
    assert found[3]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert not any("usage" in each for each in found[:3])


def test_streams_of_other_forms(clients):
    for told in (["a", "b"], [{"content": "a"}, {"content": "b", "finish_reason": "stop"}]):
        found = chunks_of(clients["llm/v1/chat"], *told)
        texts = [each["choices"][0]["delta"].get("content", "") for each in found]
        assert "".join(texts) == "ab"
        assert found[-1]["choices"][0]["finish_reason"] == "stop"
    # A model that says nothing ends nevertheless.
    assert chunks_of(clients[CHAT])[0]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_of_a_model_that_cannot_is_one_chunk(clients, models):
    cannot = models.client(TELLS, metadata={"task": CHAT}, names=["m"])
    for client, told in ((cannot, []), (clients[CHAT], ["not implemented"])):
        (found,) = chunks_of(client, *told, answer="whole")
        delta = {"role": "assistant", "content": "whole"}
        assert found["object"] == "chat.completion.chunk"
        assert found["choices"] == [
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop"}
        ]


def test_errors_of_streams(clients):
    body = {"messages": MESSAGES, "stream": True, "chunks": ["fail"]}
    error = post(clients[CHAT], "/chat/completions", body, 400).get_json()["error"]
    assert "halfway" in error["message"]
    body["chunks"] = ["a", "fail"]
    *_, last = events(post(clients[CHAT], "/chat/completions", body))
    assert "halfway" in last["error"]["message"]
    assert sorted(last["error"]) == ["code", "message", "param", "type"]


CHAT_SIGNATURE = [
    {
        "name": "messages",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "role": {"type": "string"},
                "content": {"type": "string", "required": False},
            },
        },
        "required": True,
    },
    {"name": "answer", "type": "string"},
    {"name": "max_tokens", "type": "long", "required": False},
    {"name": "stop", "type": "array", "items": {"type": "string"}, "required": False},
]
SEES = """
    class Model:
        def predict(self, model_input, params=None):
            row = {name: values[0] for name, values in model_input.to_dict(orient="list").items()}
            return {"content": "", "custom_outputs": {"row": row, "params": params}}
"""


def test_parameters_reach_the_model_as_its_signature_has_them(models):
    params = [{"name": "temperature", "type": "double", "default": 1.0, "shape": None}]
    client = models.client(SEES, inputs=CHAT_SIGNATURE, params=params, metadata={"task": CHAT})
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = chat(
        client, answer="seen", stop="x", max_completion_tokens=5, temperature=0.5, top_p=None,
        unknown=3, messages=[{"role": "user", "content": parts, "refusal": None}],
    )["custom_outputs"]  # fmt: skip
    assert found == {
        "row": {
            "messages": [{"role": "user", "content": "ab"}],
            "answer": "seen",
            "max_tokens": 5,
            "stop": ["x"],
        },
        "params": {"temperature": 0.5},
    }
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    body = {"answer": "", "messages": [{"role": "user", "content": image}]}
    assert post(client, "/chat/completions", body, 400).get_json()["error"]["param"] == "messages"


# --- completions and embeddings ------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", ["t", ["t"], {"text": "t"}, [{"choices": [{"text": "t"}], "usage": None}]]
)
def test_a_completion(clients, answer):
    body = {"prompt": "p", "answer": answer}
    found = post(clients["llm/v1/completions"], "/completions", body).get_json()
    assert found.pop("id").startswith("cmpl-")
    assert found.pop("created") > 0
    assert found == {
        "object": "text_completion",
        "model": "m",
        "choices": [{"index": 0, "text": "t", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_a_stream_of_a_completion(clients):
    body = {"prompt": ["p"], "stream": True, "chunks": ["a", {"choices": [{"text": "b"}]}]}
    *found, last = events(post(clients["llm/v1/completions"], "/completions", body))
    assert last == "[DONE]"
    assert [each["choices"][0]["text"] for each in found] == ["a", "b", ""]
    assert [each["choices"][0]["finish_reason"] for each in found] == [None, None, "stop"]
    body["chunks"] = ["not implemented"]
    body["answer"] = "whole"
    found = events(post(clients["llm/v1/completions"], "/completions", body))
    assert [each["choices"][0]["text"] for each in found[:-1]] == ["whole"]


PROMPTS = """
    class Model:
        def predict(self, model_input, params=None):
            rows = model_input.to_dict(orient="records")
            return ["{prompt} {max_tokens}".format(**row) for row in rows]
"""


def test_several_prompts_are_several_rows(models):
    inputs = [
        {"name": "prompt", "type": "string"},
        {"name": "max_tokens", "type": "long", "required": False},
    ]
    client = models.client(PROMPTS, inputs=inputs, metadata={"task": "llm/v1/completions"})
    body = {"prompt": ["a", "b"], "max_tokens": 2, "unknown": [1, 2, 3]}
    found = post(client, "/completions", body).get_json()["choices"]
    assert [(each["index"], each["text"]) for each in found] == [(0, "a 2"), (1, "b 2")]


VECTORS = """
    import numpy as np
    import pandas as pd

    class Model:
        def predict(self, model_input, params=None):
            kind = (params or {}).get("kind", "array")
            column = model_input.iloc[:, 0].tolist() if hasattr(model_input, "iloc") else model_input["input"]
            texts = column[0] if isinstance(column[0], list) else column
            rows = np.array([[len(text), 0.5] for text in texts], dtype=np.float32)
            if kind == "openai":
                data = [{"object": "embedding", "index": 0, "embedding": row} for row in rows]
                return {"object": "list", "data": data, "usage": {"prompt_tokens": 9, "total_tokens": 9}}
            return {
                "array": rows, "lists": rows.tolist(), "table": pd.DataFrame(rows), "flat": rows[0],
                "column": pd.DataFrame({"embedding": list(rows)}), "series": pd.Series(list(rows)),
                "wrong": rows[:0], "text": "text",
            }[kind]
"""
KIND = [{"name": "kind", "type": "string", "default": "array", "shape": None}]
ONE, LIST = {"type": "string"}, {"type": "array", "items": {"type": "string"}, "name": "input"}


@pytest.fixture(scope="module")
def embedders(shared_models):
    """Clients of models without a signature, with one text a row, and with a list of them."""
    task = {"task": "llm/v1/embeddings"}
    return [
        shared_models.client(VECTORS, inputs=inputs, params=KIND, metadata=task, names=["m"])
        for inputs in (None, [ONE], [dict(ONE, name="text")], [LIST])
    ]


@pytest.mark.parametrize("kind", ["array", "lists", "table", "column", "series", "openai"])
def test_embeddings(embedders, kind):
    for client in embedders:
        body = {"input": ["abc", "d"], "kind": kind}
        found = post(client, "/embeddings", body).get_json()
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        assert found["usage"] == (usage if kind == "openai" else dict.fromkeys(usage, 0))
        assert (found["object"], found["model"]) == ("list", "m")
        assert found["data"] == [
            {"object": "embedding", "index": 0, "embedding": [3.0, 0.5]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.5]},
        ]
        body = {"input": "abc", "kind": kind, "encoding_format": "base64"}
        (found,) = post(client, "/embeddings", body).get_json()["data"]
        assert base64.b64decode(found["embedding"]) == b"\0\0@@\0\0\0?"


def test_embeddings_of_several_requests_are_one_prediction(models):
    code = """
        class Model:
            def predict(self, model_input, params=None):
                return [[float(len(model_input)), len(text)] for text in model_input["text"]]
    """
    server = {"max_batch_rows": 8}
    config = models.config(
        code, inputs=[dict(ONE, name="text")], metadata={"task": "llm/v1/embeddings"}, server=server
    )
    application = Application(config, load_model(config), Batching.of(config.server))
    group = OpenAIProtocol(config)
    bodies = [{"input": "a"}, {"input": ["bb", "ccc"]}, {"input": []}]
    answers = models.together(
        application,
        [
            Request(group, group.routes[2], "POST", "", {}, "", {}, json.dumps(body).encode())
            for body in bodies
        ],
    )
    assert [answer.status for answer in answers] == [200, 200, 400]
    found = [json.loads(answer.body)["data"] for answer in answers[:2]]
    assert [[each["embedding"] for each in data] for data in found] == [
        [[3.0, 1.0]], [[3.0, 2.0], [3.0, 3.0]],
    ]  # fmt: skip


def test_one_flat_vector_is_that_of_one_text(embedders):
    body = {"input": "abc", "kind": "flat"}
    (found,) = post(embedders[0], "/embeddings", body).get_json()["data"]
    assert found["embedding"] == [3.0, 0.5]


@pytest.mark.parametrize("kind", ["wrong", "text", "flat"])
def test_answers_that_are_no_embeddings(embedders, kind):
    body = {"input": ["a", "b"], "kind": kind}
    error = post(embedders[0], "/embeddings", body, 500).get_json()["error"]
    assert error["type"] == "server_error"


# --- responses -----------------------------------------------------------------------------------

TEXT = {"type": "output_text", "text": "ab", "annotations": []}
SAID = {
    "type": "message",
    "id": "1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "ab"}],
}
CALLED = {"type": "function_call", "id": "f", "call_id": "c", "name": "n", "arguments": "{}"}
OUTPUT = [
    {**CALLED, "status": "completed"},
    {**SAID, "status": "completed", "content": [TEXT]},
]


def test_a_response(clients):
    answer = {"output": [CALLED, SAID], "custom_outputs": {"a": 1}, "object": "response"}
    body = {"input": "x", "answer": answer, "temperature": 0.5}
    found = post(clients[RESPONSES], "/responses", body).get_json()
    assert found.pop("id").startswith("resp_")
    assert found.pop("created_at") > 0
    assert found == {
        "object": "response", "status": "completed", "model": "m", "output": OUTPUT,
        "custom_outputs": {"a": 1}, "error": None, "incomplete_details": None, "usage": None,
        "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 0.5,
        "tool_choice": "auto", "tools": [], "top_p": None,
    }  # fmt: skip


def told(client, *chunks, **body):
    """The types of the events, and the last of them."""
    sent = {"input": "x", "stream": True, "chunks": chunks, **body}
    found = events(post(client, "/responses", sent))
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    return [each["type"].replace("response.", "") for each in found], found[-1]


DONE = [{"type": "response.output_item.done", "item": item} for item in (CALLED, SAID)]
DELTAS = [{"type": "response.output_text.delta", "item_id": "1", "delta": each} for each in "ab"]
START, END = ["created", "in_progress"], ["completed"]
OF_CALL = [
    "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
    "output_item.done",
]  # fmt: skip
OF_TEXT = ["output_item.added", "content_part.added", "output_text.delta"]
OF_END = ["output_text.done", "content_part.done", "output_item.done"]


@pytest.mark.parametrize(
    "chunks",
    [
        DONE,
        [DONE[0], *DELTAS, DONE[1]],
        [DONE[0], *DELTAS],
        [{"type": "response.completed", "response": {"output": [CALLED, SAID]}}],
        [{"type": "response.created", "response": {"id": "r"}}, *DONE,
         {"type": "response.completed", "response": {"id": "r", "output": [CALLED, SAID]}}],
    ],
)  # fmt: skip
def test_the_events_of_a_response_are_complete(clients, chunks):
    kinds, last = told(clients[RESPONSES], *chunks)
    deltas = ["output_text.delta"] if DELTAS[0] in chunks else []
    assert kinds == [*START, *OF_CALL, *OF_TEXT, *deltas, *OF_END, *END]
    assert last["response"]["output"] == OUTPUT
    assert last["response"]["status"] == "completed"
    if chunks[0]["type"] == "response.created":
        assert last["response"]["id"] == "r"


def test_an_agent_that_tells_all_is_not_corrected(clients):
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "1", "output_index": 0, "content_index": 0}
    chunks = [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.in_progress", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "item": {**SAID, "content": []}},
        {"type": "response.content_part.added", **place, "part": part},
        *DELTAS,
        {"type": "response.output_text.done", **place, "text": "ab"},
        {"type": "response.content_part.done", **place, "part": TEXT},
        DONE[1],
        {"type": "response.completed", "response": {"id": "r", "output": [SAID]}},
    ]
    kinds, last = told(clients[RESPONSES], *chunks)
    assert kinds == [each["type"].replace("response.", "") for each in chunks]
    assert last["response"]["output"] == OUTPUT[1:]


def test_other_ends_of_a_response(clients):
    kinds, last = told(clients[RESPONSES])
    assert (kinds, last["response"]["output"]) == ([*START, *END], [])
    failed = {"type": "response.failed", "response": {"error": {"code": "x", "message": "m"}}}
    kinds, last = told(clients[RESPONSES], failed)
    assert kinds == [*START, "failed"]
    assert (last["response"]["status"], last["response"]["error"]["code"]) == ("failed", "x")
    kinds, last = told(clients[RESPONSES], {"type": "error", "message": "m"}, DONE[0])
    assert kinds == [*START, "error"]
    assert last["error"]["message"] == "m"


def test_a_response_whole_as_a_stream(clients):
    answer = {"output": [CALLED, SAID], "custom_outputs": {"a": 1}, "id": "r"}
    kinds, last = told(clients[RESPONSES], "not implemented", answer=answer)
    assert kinds == [*START, *OF_CALL, *OF_TEXT, *OF_END, *END]
    assert (last["response"]["id"], last["response"]["output"]) == ("r", OUTPUT)
    assert last["response"]["custom_outputs"] == {"a": 1}


def test_errors_of_streams_of_responses(clients):
    body = {"input": "x", "stream": True, "chunks": [DONE[0], "fail"]}
    response = post(clients[RESPONSES], "/responses", body)
    assert "event: error\ndata: " in response.get_data(as_text=True)
    *_, last = events(response)
    assert (last["type"], last["message"]) == ("error", last["error"]["message"])
    assert "halfway" in last["message"]
    body["chunks"] = [{"no": "event"}]
    assert post(clients[RESPONSES], "/responses", body, 500)
