"""The document is OpenAPI 3.1 for every signature, and its examples are requests that work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from launcher.engines.server_config import server_config
from launcher.model.mlmodel import read_model
from scoring_server.config import ServerConfig
from tests.conftest import REAL_MODELS
from tests.scoring_server.openapi.signatures import (
    SIGNATURES,
    Echo,
    configuration,
    tensor,
    validator,
)

MODELS = sorted(path.name for path in REAL_MODELS.glob("*"))
INFER = "/v2/models/m/infer"


def check(server: Echo) -> None:
    """The document's form; its examples fit it, are answered, and so does the answer."""
    OpenAPIV31SpecValidator(server.document).validate()
    for described, path in (("/invocations", "/invocations"), ("/v2/models/{name}/infer", INFER)):
        media = server.body(described)
        operation = server.document["paths"][described]["post"]
        if "example" in media:
            server.validator(media["schema"]).validate(media["example"])
            answer = server.send(path, media["example"])
            assert answer.status == 200, (media["example"], answer.body)
            content = operation["responses"]["200"]["content"]["application/json"]
            server.validator(content["schema"]).validate(json.loads(answer.body))  # type: ignore[arg-type]
        csv = operation["requestBody"]["content"].get("text/csv", {})
        if "example" in csv:
            answer = server.send(path, csv["example"].encode(), "text/csv")
            assert answer.status == 200, (csv["example"], answer.body)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_document_and_its_examples(name: str) -> None:
    server = Echo(configuration(SIGNATURES[name], {"debug": True}))
    check(server)
    has_inputs = "inputs" in (SIGNATURES[name] or {})
    assert ("example" in server.body()) == has_inputs


@pytest.mark.parametrize("kind", ["crate", "type hints", "outputs", "token"])
def test_other_documents(kind: str) -> None:
    outputs = [{"name": "a", "type": "double"}, {"name": "b", "type": "string"}]
    config = {
        "crate": lambda: configuration(SIGNATURES["doubles"], flavor="crate", version="7"),
        "type hints": lambda: configuration(
            {"inputs": [{"type": "long"}]}, is_signature_from_type_hint=True
        ),
        "outputs": lambda: configuration({"outputs": outputs}),
        "token": lambda: configuration(None, {"token_file": "/no/token"}),
    }[kind]()
    OpenAPIV31SpecValidator(Echo(config).document).validate()


@pytest.mark.parametrize("name", MODELS)
def test_the_documents_of_real_models(name: str) -> None:
    model = read_model(REAL_MODELS / name)
    document = server_config(model, uri=name, environment={}, server={})
    check(Echo(ServerConfig.from_dict(json.loads(json.dumps(document)))))


SCALARS = ["boolean", "long", "double", "string", "binary", "datetime"]
TYPES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.sampled_from([{"type": kind} for kind in SCALARS]),
    lambda inner: (
        inner.map(lambda each: {"type": "array", "items": each})
        | inner.map(lambda each: {"type": "map", "values": each})
        | st.dictionaries(st.text("xy", min_size=1), inner, min_size=1, max_size=2).map(
            lambda each: {"type": "object", "properties": each}
        )
    ),
    max_leaves=4,
)
NAMES = st.text('ab "\u00e4$#/~', min_size=1, max_size=4)
COLUMNS = st.dictionaries(NAMES, st.tuples(TYPES, st.booleans()), min_size=1, max_size=4).map(
    lambda columns: [
        {**kind, "name": name, "required": required} for name, (kind, required) in columns.items()
    ]
)
SHAPES = st.lists(st.integers(1, 3), max_size=3)
DTYPES = st.sampled_from(["float64", "float32", "int64", "uint8", "bool", "str"])
TENSORS = st.dictionaries(NAMES, st.tuples(DTYPES, SHAPES), min_size=1, max_size=3).map(
    lambda tensors: [
        tensor(dtype, -1, *shape, name=name) for name, (dtype, shape) in tensors.items()
    ]
)


@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])
@given(COLUMNS | TENSORS)
def test_generated_signatures(inputs: list[dict[str, Any]]) -> None:
    check(Echo(configuration({"inputs": inputs})))


def test_the_input_example_is_the_document_s(tmp_path: Path) -> None:
    rows = {"columns": ["a", "b", "c", "d"], "data": [[float(n)] * 4 for n in range(9)]}
    (tmp_path / "input_example.json").write_text(json.dumps(rows))
    info = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    config = configuration(SIGNATURES["doubles"], path=str(tmp_path), saved_input_example_info=info)
    server = Echo(config)
    check(server)
    assert server.body()["example"] == {"dataframe_split": {**rows, "data": rows["data"][:3]}}
    outside = {**info, "artifact_path": "../../etc/hostname"}
    other = Echo(config._replace(model=config.model._replace(saved_input_example_info=outside)))
    assert other.body()["example"]["dataframe_split"]["data"] == [[0.5] * 4]


def test_bodies_that_are_wrong_do_not_fit() -> None:
    server = Echo(configuration(SIGNATURES["doubles"]))
    accepts = validator(server.document, server.body()["schema"]).is_valid
    row = dict.fromkeys("abcd", 1.5)
    assert accepts({"dataframe_records": [row]})
    # As MLflow casts them.
    assert accepts({"dataframe_records": [{**row, "a": "2.5", "b": None}]})
    for wrong in (
        {"dataframe_records": [{**row, "a": "text"}]}, {"dataframe_records": [{**row, "a": []}]},
        {"dataframe_records": [dict.fromkeys("abc", 1)]}, {"dataframe_records": row},
        {"dataframe_records": [row], "inputs": [row]}, {"inputs": 5}, {}, 5,
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}},
    ):  # fmt: skip
        assert not accepts(wrong), wrong
