"""Hypothesis strategies for JSON Schemas, as far as descriptions of models use them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TIMES = [
    "2020-01-02T03:04:05",
    "2020-01-02T03:04:05Z",
    "1999-12-31T23:59:59.5+02:00",
    "2024-02-29T00:00:00Z",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)


def values(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON values that fit a schema of an OpenAPI document."""
    if "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].lstrip("#/").split("/"):
            found = found[part]
        return values(found, document)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values(each, document) for each in schema["anyOf"]])
    kinds = schema.get("type")
    if kinds is None:
        return ANYTHING
    return st.one_of(
        [
            _of_type(kind, schema, document)
            for kind in (kinds if isinstance(kinds, list) else [kinds])
        ]
    )


def _of_type(kind: str, schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "integer":
        return st.integers(schema.get("minimum", -9), schema.get("maximum", 9))
    if kind == "array":
        return _array(schema, document)
    if kind == "object":
        return _object(schema, document)
    text = st.text("aä 1", max_size=4)
    if schema.get("format", "").startswith("date-time"):
        text = st.sampled_from(TIMES if schema["format"] == "date-time" else TIMES[:1])
    if schema.get("contentEncoding") == "base64":
        text = st.sampled_from(["", "YQ==", "dGVzdA=="])
    # A quarter more, since JSON makes no difference between 1.0 and 1, and MLflow does inside of
    # nested types.
    number = st.integers(-(2**20), 2**20).map(lambda each: each + 0.25)
    return {"string": text, "number": number, "boolean": st.booleans(), "null": st.none()}[kind]


def _array(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*[values(each, document) for each in schema["prefixItems"]]).map(list)
    # Lists beside each other have to be of one length, which no schema can say.
    size = schema.get("maxItems", 2)
    return st.lists(values(schema.get("items", {}), document), min_size=size, max_size=size)


def _object(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    if not properties:
        inner = values(schema.get("additionalProperties", {}), document)
        return st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    # A column of integers is in all rows or in none, which no schema can say either.
    return st.fixed_dictionaries({n: values(each, document) for n, each in properties.items()})
