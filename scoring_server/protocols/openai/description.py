"""What `/openapi.json` says of the API's routes, as far as a model has them."""

from __future__ import annotations

from typing import Any, Dict, Sequence

from ...config import ServerConfig
from ...routes import JSON_TYPE, STREAM_TYPE, Description
from ...signature import json_schema as js
from ...signature.signature import Signature
from .api import CHAT, COMPLETIONS, EMBEDDINGS, MODEL, MODELS, RESPONSES

_REF = "#/components/schemas/OpenAI"
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
# Of each path: what it is for, the parameter that must be there, its schema, and an example.
_PARTS: Dict[str, Any] = {
    CHAT: (
        "The next message of a conversation",
        "messages",
        {"type": "array", "items": {"type": "object"}, "minItems": 1},
        [{"role": "user", "content": "Hello"}],
    ),
    RESPONSES: ("A response of the agent", "input", {"type": ["string", "array"]}, "Hello"),
    COMPLETIONS: ("How a text goes on", "prompt", _TEXTS, "Once upon a time"),
    EMBEDDINGS: ("A vector for each text", "input", _TEXTS, ["a text"]),
}


def describe(config: ServerConfig, path: str, names: Sequence[str]) -> Description:
    """The description of the API for a model.

    :param path: the one at which it answers.
    :param names: what it may be called.
    """
    summary, name, schema, example = _PARTS[path]
    signature = Signature.from_config(config.model)
    answers = {JSON_TYPE: {"schema": {"$ref": _REF + "Answer"}}}
    if path != EMBEDDINGS:
        answers[STREAM_TYPE] = {"schema": _TEXT}
    body = {"schema": {"$ref": _REF + "Request"}, "example": {"model": names[0], name: example}}
    known: Dict[str, Any] = {"type": "string", "enum": list(dict.fromkeys(names))}
    in_path = {"name": "id", "in": "path", "required": True, "schema": known}
    operations: Dict[str, Dict[str, Any]] = {
        "GET " + MODELS: {"summary": "The models: this one", "responses": _ok(_REF + "Models")},
        "GET " + MODEL: {
            "summary": "The model",
            "parameters": [in_path],
            "responses": _ok(_REF + "Model"),
        },
        "POST " + path: {
            "summary": summary,
            "description": "As in OpenAI's API. Further parameters are the model's, as in a"
            " payload to `/invocations`.",
            "requestBody": {"required": True, "content": {JSON_TYPE: body}},
            "responses": {"200": {"description": "What the model answers.", "content": answers}},
        },
    }
    schemas = {
        **_fixed(),
        "OpenAIRequest": _request(path, {name: schema}, signature, list(known["enum"])),
        "OpenAIAnswer": _answer(path),
    }
    return Description(operations, schemas, {"$ref": _REF + "Error"})


def _ok(reference: str) -> Dict[str, Any]:
    content = {JSON_TYPE: {"schema": {"$ref": reference}}}
    return {"200": {"description": "Its name, and since when it is there.", "content": content}}


def _object(**properties: Any) -> Dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _request(
    path: str, needed: Dict[str, Any], signature: Signature, names: Sequence[str]
) -> Dict[str, Any]:
    properties: Dict[str, Any] = {"model": {"enum": [*names, None]}, **needed}
    if path == EMBEDDINGS:
        properties["encoding_format"] = {"enum": ["float", "base64", None]}
    else:
        properties["stream"] = {"description": "true: the answer comes in events."}
    inputs = () if signature.schema is None else signature.schema.inputs
    columns: Dict[str, Any] = {
        str(each.name): js.exact(getattr(each, "type", None), each.required)
        for each in inputs
        if each.name is not None and each.name not in properties
    }
    # What else the model takes, as clients should send it; it is the model that says no.
    should = {**columns, **js.params_properties(signature.params)}
    request = {"type": "object", "properties": properties, "required": list(needed)}
    return {**request, "anyOf": [{"properties": should}, {}]} if should else request


def _answer(path: str) -> Dict[str, Any]:
    usage = {"type": "object", "additionalProperties": True}
    if path == RESPONSES:
        return _object(
            id=_TEXT,
            object={"const": "response"},
            created_at={"type": "number"},
            model=_TEXT,
            output={"type": "array", "items": {"type": "object"}},
        )
    if path == EMBEDDINGS:
        vector = {"anyOf": [_TEXT, {"type": "array", "items": {"type": ["number", "null"]}}]}
        embedding = _object(object={"const": "embedding"}, index=_COUNT, embedding=vector)
        data = {"type": "array", "items": embedding}
        return _object(object={"const": "list"}, data=data, model=_TEXT, usage=usage)
    kind = "chat.completion" if path == CHAT else "text_completion"
    part = {"message": {"type": "object"}} if path == CHAT else {"text": _TEXT}
    choice = _object(index=_COUNT, finish_reason=_TEXT, **part)
    return _object(
        id=_TEXT,
        object={"const": kind},
        created={"type": "integer"},
        model=_TEXT,
        choices={"type": "array", "items": choice},
        usage=usage,
    )


def _fixed() -> Dict[str, Any]:
    nullable = {"type": ["string", "null"]}
    error = _object(message=_TEXT, type=_TEXT, param=nullable, code=nullable)
    models = {"type": "array", "items": {"$ref": _REF + "Model"}}
    return {
        "OpenAIError": _object(error=error),
        "OpenAIModel": _object(
            id=_TEXT, object={"const": "model"}, created={"type": "integer"}, owned_by=_TEXT
        ),
        "OpenAIModels": _object(object={"const": "list"}, data=models),
    }
