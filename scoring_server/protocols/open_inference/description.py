"""What `/openapi.json` says of the protocol's routes.

Source of the forms: https://github.com/kserve/open-inference-protocol, and Triton's "Binary Tensor
Data Extension".
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ...config import ServerConfig
from ...routes import JSON_TYPE, Description
from ...signature import json_schema as js
from ...signature.schema import DataType, Schema
from ...signature.schema import Tensor as TensorSpec
from .datatypes import (
    BYTES,
    DTYPES,
    INPUT_PREFIX,
    OF_REQUESTS,
    OF_TENSORS,
    content_type_of,
)
from .datatypes import (
    describe as describe_tensors,
)
from .inference import BINARY_TYPE
from .requests import (
    ALL_BINARY,
    BINARY_OUTPUT,
    BINARY_SIZE,
    CONTENT_TYPE,
    LENGTH_HEADER,
    MOST_DIMENSIONS,
)

_MODEL = "/v2/models/<name>"
_REF = "#/components/schemas/V2"


def describe(config: ServerConfig, names: Sequence[str], versions: Sequence[str]) -> Description:
    """The description of the protocol for a model.

    :param names: what the model is called in paths.
    :param versions: those that it has; none: paths with a version are not there.
    """
    server = _ok("Name, version and extensions of the server.", _REF + "Server")
    operations = {
        "GET /v2": {"summary": "The server", "responses": {"200": server}},
        "GET /v2/health/live": {
            "summary": "Whether the server runs",
            "responses": {"200": _ok("It does.", _REF + "Readiness")},
        },
        "GET /v2/health/ready": _ready("Whether the server is ready"),
    }
    name = _in_path("name", names)
    operations.update(_of_model(config, _MODEL, [name]))
    if versions:
        version = _in_path("version", versions)
        operations.update(_of_model(config, _MODEL + "/versions/<version>", [name, version]))
    return Description(operations, _schemas(), {"$ref": _REF + "Error"})


def _of_model(
    config: ServerConfig, path: str, parameters: List[Dict[str, Any]]
) -> Dict[str, Dict[str, Any]]:
    metadata = _ok("Its name, versions, inputs and outputs.", _REF + "Model")
    ready = _ready("Whether the model is ready")
    return {
        "GET " + path: {
            "summary": "The model's inputs and outputs",
            "parameters": parameters,
            "responses": {"200": metadata},
        },
        "GET " + path + "/ready": {**ready, "parameters": parameters},
        "POST " + path + "/infer": _infer(config, parameters),
    }


def _infer(config: ServerConfig, parameters: List[Dict[str, Any]]) -> Dict[str, Any]:
    length = {
        "name": LENGTH_HEADER,
        "in": "header",
        "description": "How many bytes of the body are JSON, where binary tensors follow it.",
        "schema": {"type": "integer", "minimum": 0},
    }
    request: Dict[str, Any] = {"schema": {"$ref": _REF + "Request"}}
    example = _example(config)
    if example is not None:
        request["example"] = example
    answer = _ok("The outputs.", _REF + "Response")
    answer["content"][BINARY_TYPE] = {}
    answer["headers"] = {
        LENGTH_HEADER: {
            "description": "How many bytes of the body are JSON, where binary tensors follow it.",
            "schema": {"type": "integer", "minimum": 0},
        }
    }
    return {
        "summary": "Predictions of the model, as tensors",
        "parameters": [*parameters, length],
        "requestBody": {"required": True, "content": {JSON_TYPE: request, BINARY_TYPE: {}}},
        "responses": {"200": answer},
    }


def _ready(summary: str) -> Dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": _ok("It is.", _REF + "Readiness"),
            "503": _ok("It is not.", _REF + "Readiness"),
        },
    }


def _ok(description: str, reference: str) -> Dict[str, Any]:
    content = {JSON_TYPE: {"schema": {"$ref": reference}}}
    return {"description": description, "content": content}


def _in_path(name: str, values: Sequence[str]) -> Dict[str, Any]:
    schema = {"type": "string", "enum": list(dict.fromkeys(values))}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _object(properties: Dict[str, Any], *required: str) -> Dict[str, Any]:
    document: Dict[str, Any] = {"type": "object", "properties": properties}
    return {**document, "required": list(required)} if required else document


def _schemas() -> Dict[str, Any]:
    text = {"type": "string"}
    datatype = {"type": "string", "enum": [*DTYPES, BYTES]}
    content_type = {
        "description": "What the elements stand for, as MLServer calls it.",
        "enum": [*dict.fromkeys([*OF_TENSORS, *OF_REQUESTS]), None],
    }
    whole_type = {"description": "How the inputs make the model's.", "enum": [*OF_REQUESTS, None]}
    shape = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "maxItems": MOST_DIMENSIONS,
    }
    size = {"description": "Its bytes behind the JSON.", "type": "integer", "minimum": 0}
    of_input = {CONTENT_TYPE: content_type, BINARY_SIZE: {**size, "type": ["integer", "null"]}}
    has_size = _object({"parameters": {**_object({BINARY_SIZE: size}, BINARY_SIZE)}}, "parameters")
    tensor_input = {
        **_object(
            {
                "name": text,
                "shape": shape,
                "datatype": datatype,
                "parameters": {**_object(of_input), "type": ["object", "null"]},
                "data": {"description": "Its elements, row by row; nested or not."},
            },
            "name",
            "shape",
            "datatype",
        ),
        "anyOf": [{"required": ["data"]}, has_size],
    }
    wanted = _object(
        {
            "name": text,
            "parameters": {
                **_object({BINARY_OUTPUT: {"description": "true: as binary."}}),
                "type": ["object", "null"],
            },
        },
        "name",
    )
    of_request = {CONTENT_TYPE: whole_type, ALL_BINARY: {"description": "true: as binary."}}
    request = _object(
        {
            "id": {"type": ["string", "null"]},
            "parameters": {
                **_object(of_request),
                "type": ["object", "null"],
                "description": "Beside these, the model's params.",
            },
            "inputs": {"type": "array", "items": {"$ref": _REF + "Input"}, "minItems": 1},
            "outputs": {
                "description": "The outputs that are wanted; all where there are none.",
                "type": ["array", "null"],
                "items": wanted,
            },
        },
        "inputs",
    )
    signed_shape = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    described = _object(
        {"name": text, "datatype": datatype, "shape": signed_shape, "parameters": _object({})},
        "name",
        "datatype",
        "shape",
    )
    tensors = {"type": "array", "items": described}
    output = _object(
        {
            "name": text,
            "shape": shape,
            "datatype": datatype,
            "parameters": _object({}),
            "data": {"type": "array"},
        },
        "name",
        "shape",
        "datatype",
    )
    return {
        "V2Error": _object({"error": text}, "error"),
        "V2Server": _object(
            {"name": text, "version": text, "extensions": {"type": "array", "items": text}},
            "name",
            "version",
            "extensions",
        ),
        "V2Readiness": _object(
            {"live": {"type": "boolean"}, "ready": {"type": "boolean"}, "name": text}
        ),
        "V2Model": _object(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": tensors,
                "outputs": tensors,
                "parameters": _object({}),
            },
            "name",
            "platform",
            "inputs",
            "outputs",
        ),
        "V2Input": tensor_input,
        "V2Request": request,
        "V2Response": _object(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": _object({}),
                "outputs": {"type": "array", "items": output},
            },
            "model_name",
            "id",
            "outputs",
        ),
    }


def _example(config: ServerConfig) -> Optional[Dict[str, Any]]:
    """A request made from the signature; None where there is none."""
    found = config.model.signature
    if found is None or not found.inputs:
        return None
    schema = Schema.from_json(found.inputs)
    inputs = []
    for spec, described in zip(schema.inputs, describe_tensors(schema, INPUT_PREFIX)):
        shape = [1 if size < 0 else size for size in described.shape]
        if isinstance(spec, TensorSpec):
            data: Any = js.sample_tensor(spec)
        else:
            data = [js.sample(spec.type)]
        document = {
            "name": described.name,
            "datatype": described.datatype,
            "shape": shape,
            "data": data,
        }
        if not isinstance(getattr(spec, "type", DataType), DataType):
            document["parameters"] = {"content_type": described.content_type}
        inputs.append(document)
    assert content_type_of(schema) is not None
    return {"inputs": inputs}
