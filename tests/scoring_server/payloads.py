"""Hypothesis strategies: requests made from signatures, right ones and nearly right ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.scoring_server.cases import CSV, GOOD, JSON, Case

LETTERS = "abcdef ä0"
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(LETTERS, max_size=5),
    "binary": st.sampled_from(["dGVzdA==", "YQ==", ""]),
    "datetime": st.sampled_from(["2020-01-02", "2020-01-02T03:04:05", "1999-12-31T23:59:59.5"]),
}
ANYTHING = st.one_of(
    st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.text(LETTERS, max_size=3)
)
COLUMNS = {
    "scalars": {name: name for name in GOOD},
    "optional_scalars": {name: name for name in GOOD},
    "doubles": dict.fromkeys("abcd", "double"),
    "mixed_numbers": {"n": "long", "x": "double", "i": "integer", "f": "float"},
    "one_named_string": {"text": "string"},
    "one_long": {"n": "long"},
    "datetime_and_long": {"a": "long", "b": "datetime"},
    "question": {"question": "string", "context": "string"},
    "no_signature": {"p": "double", "q": "string"},
    "params": {"x": "double"},
}
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.one_of(st.booleans(), ANYTHING),
        "count": st.one_of(st.integers(-5, 5), ANYTHING),
        "wide": st.one_of(st.floats(-5, 5), ANYTHING),
        "text": st.one_of(st.text(LETTERS, max_size=3), ANYTHING),
        "list": st.lists(st.one_of(st.floats(-5, 5), ANYTHING), max_size=3),
        "temperature": st.floats(0, 1),
    },
)


@st.composite
def payloads(draw: st.DrawFn) -> Case:
    """One request to one of the models with column-based signatures, or a tensor."""
    if draw(st.integers(0, 5)) == 0:
        return draw(tensors())
    model = draw(st.sampled_from(sorted(COLUMNS)))
    columns = dict(COLUMNS[model])
    if draw(st.integers(0, 3)) == 0:
        columns.pop(draw(st.sampled_from(sorted(columns))))
    if draw(st.integers(0, 3)) == 0:
        columns["extra"] = "string"
    names = draw(st.permutations(sorted(columns)))
    odd = draw(st.sampled_from([None, *names])) if draw(st.integers(0, 2)) == 0 else None
    rows = [
        {name: draw(ANYTHING if name == odd else VALUES[columns[name]]) for name in names}
        for _ in range(draw(st.integers(1, 3)))
    ]
    if draw(st.integers(0, 6)) == 0:
        return Case(model, _csv(names, rows), CSV)
    document = draw(_document(names, rows))
    if model == "params" or draw(st.integers(0, 5)) == 0:
        document["params"] = draw(PARAMS)
    return Case(model, json.dumps(document).encode(), JSON)


@st.composite
def _document(draw: st.DrawFn, names: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    data = [[row[name] for name in names] for row in rows]
    columns = {name: [row[name] for row in rows] for name in names}
    split: dict[str, Any] = {"columns": names, "data": data}
    if draw(st.booleans()):
        split["index"] = draw(st.permutations(range(len(rows))))
    return draw(
        st.sampled_from(
            [
                {"dataframe_split": split}, {"dataframe_records": rows}, {"inputs": rows},
                {"inputs": columns}, {"instances": rows}, {"inputs": rows[0]}, {"instances": columns},
            ]
        )
    )  # fmt: skip


def _csv(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(names)] + [",".join(_cell(row[name]) for name in names) for row in rows]
    return "\n".join(lines).encode()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@st.composite
def tensors(draw: st.DrawFn) -> Case:
    """Nested lists of any regular shape for the models with tensor-based signatures."""
    model = draw(
        st.sampled_from(["tensor", "tensor_1d", "tensor_image", "tensor_text", "tensors_named"])
    )
    shape = draw(st.lists(st.integers(0, 3), min_size=0, max_size=3))
    leaf = draw(
        st.sampled_from([st.integers(-5, 300), st.floats(-5, 5), st.text("ab", max_size=2)])
    )

    def nest(dimensions: list[int]) -> Any:
        if not dimensions:
            return draw(leaf)
        return [nest(dimensions[1:]) for _ in range(dimensions[0])]

    value = nest(shape)
    if model == "tensors_named":
        value = {"left": value, "right": nest(shape[:1])}
    key = draw(st.sampled_from(["inputs", "instances"]))
    return Case(model, json.dumps({key: value}).encode(), JSON)
