"""What `/openapi.json` says of `/invocations` for one model, and of the routes of crates."""

from __future__ import annotations

import importlib.util
from typing import Any, Dict

from ..config import FLAVOR, ServerConfig
from ..formats.json_forms import Forms, JsonSchema
from ..formats.parsing import ARROW_TYPE, CSV_TYPE, PARQUET_TYPE
from ..routes import JSON_TYPE, STREAM_TYPE, Description
from ..signature import json_schema as js
from ..signature.examples import example_request
from ..signature.schema import Schema
from ..signature.signature import Signature


def describe(config: ServerConfig) -> Description:
    """The description of MLflow's protocol for a model."""
    signature = Signature.from_config(config.model)
    forms = Forms(signature)
    schemas: Dict[str, JsonSchema] = {**forms.schemas(), "Predictions": _answer(config)}
    is_raw = "RawPayload" in schemas
    ok: JsonSchema = {"$ref": "#/components/schemas/Predictions"}
    content: Dict[str, Any] = {JSON_TYPE: {"schema": js.ANYTHING if is_raw else ok}}
    pyfunc = config.model.flavors.get(FLAVOR) or {}
    if pyfunc.get("streamable"):
        content[STREAM_TYPE] = {
            "schema": {"type": "string"},
            "example": 'data: {"chunk": 1}\n\ndata: [DONE]\n\n',
        }
    if _has_pyarrow():
        content[ARROW_TYPE] = {}
    error: JsonSchema = {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation = {
        "summary": "Predictions of the model",
        "description": "MLflow's scoring protocol. The model's signature is applied to the input:"
        " values are cast to its types where that is safe, and columns that it does not know are"
        " dropped.",
        "requestBody": {"required": True, "content": _bodies(config, forms, schemas)},
        "responses": {
            "200": {"description": "What the model answers.", "content": content},
            "406": {
                "description": "Only Arrow is accepted, and the answer is no table.",
                "content": error,
            },
        },
    }
    return Description({"POST /invocations": operation}, schemas)


def describe_crate(mlflow: Description) -> Description:
    """The description of the protocol of R's crates.

    :param mlflow: that of MLflow's protocol, which it has a part of.
    """
    split = {
        "description": "Rows and the names of their columns, as before MLflow 2.",
        "type": "object",
        "properties": {"columns": {"type": "array"}, "data": {"type": "array"}},
        "required": ["columns", "data"],
    }
    bare = {"$ref": "#/components/schemas/BareSplit"}
    columns = {"type": ["object", "array"], "description": "Columns, by name."}
    answers = {"200": {"description": "R's own JSON.", "content": {JSON_TYPE: {}}}}
    invocations = dict(mlflow.operations["POST /invocations"])
    bodies = dict(invocations["requestBody"]["content"])
    body = bodies[JSON_TYPE]["schema"]
    bodies[JSON_TYPE] = {**bodies[JSON_TYPE], "schema": {"anyOf": [body, bare]}}
    invocations["requestBody"] = {"required": True, "content": bodies}
    invocations["responses"] = {"200": {**answers["200"], "description": "What it answers."}}
    predict = {
        "summary": "Predictions as from MLflow's R server, from columns",
        "requestBody": {"content": {JSON_TYPE: {"schema": columns}}},
        "responses": answers,
    }
    rows = {JSON_TYPE: {"schema": {"type": ["object", "array"]}}, CSV_TYPE: bodies[CSV_TYPE]}
    invocation = {
        "summary": "Predictions as from MLflow's R server, from rows",
        "requestBody": {"required": True, "content": rows},
        "responses": answers,
    }
    operations = {
        "POST /invocations": invocations,
        "POST /invocation": invocation,
        "POST /predict": predict,
        "POST /predict/": predict,
    }
    return mlflow._replace(operations=operations, schemas={**mlflow.schemas, "BareSplit": split})


def _answer(config: ServerConfig) -> JsonSchema:
    outputs = config.model.signature.outputs if config.model.signature is not None else None
    predictions = js.answer(Schema.from_json(outputs).inputs) if outputs else js.ANYTHING
    return {
        "type": "object",
        "properties": {"predictions": predictions},
        "required": ["predictions"],
    }


def _bodies(
    config: ServerConfig, forms: Forms, schemas: Dict[str, JsonSchema]
) -> Dict[str, JsonSchema]:
    names = [name for name in schemas if name not in ("Row", "Params", "Predictions")]
    # A payload that is passed on as it is may have any of the other keys, too.
    several = "anyOf" if "RawPayload" in names else "oneOf"
    body: Dict[str, Any] = {
        "schema": {several: [{"$ref": "#/components/schemas/" + name} for name in names]}
    }
    example = example_request(config.model) or forms.sample()
    if example is not None:
        body["example"] = example
    bodies: Dict[str, Any] = {JSON_TYPE: body}
    bodies[CSV_TYPE] = {"schema": js.ANYTHING, **forms.csv_example()}
    if _has_pyarrow():
        bodies[PARQUET_TYPE] = {}
        bodies[ARROW_TYPE] = {}
    return bodies


def _has_pyarrow() -> bool:
    return importlib.util.find_spec("pyarrow") is not None
