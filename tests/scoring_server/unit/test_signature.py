"""What the signature lets pass, converts and refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scoring_server.config import ModelConfig, SignatureConfig
from scoring_server.errors import ModelLoadError, ScoringError
from scoring_server.formats.parsing import parse_json
from scoring_server.signature.misfits import column_misfit
from scoring_server.signature.schema import Schema, SignatureError
from scoring_server.signature.signature import Params, Signature


def column(kind, name="c", **more):
    return dict({"type": kind, "name": name}, **more)


def signature(*inputs):
    return Signature(Schema.from_json(list(inputs)), Params(None))


def apply(sig, document):
    return sig.enforce(parse_json(document, sig).data)


def values_of(kind, sent, **more):
    records = [{"c": value} for value in sent]
    return apply(signature(column(kind, **more)), {"dataframe_records": records})["c"]


@pytest.mark.parametrize(
    ("kind", "sent", "dtype", "expected"),
    [
        ("boolean", [True, False], "bool", [True, False]),
        ("integer", [1, 2], "int32", [1, 2]),
        ("long", [1, 2**40], "int64", [1, 2**40]),
        ("long", ["1", 2.0], "int64", [1, 2]),
        ("float", [0.5, 1], "float32", [0.5, 1]),
        ("double", [0.5, "1.5"], "float64", [0.5, 1.5]),
        ("binary", ["YWI="], "object", [b"ab"]),
        (
            "datetime",
            ["2020-01-02T03:04:05Z"],
            "datetime64[ns]",
            [pd.Timestamp(2020, 1, 2, 3, 4, 5)],
        ),
        (
            "datetime",
            ["2020-01-02T03:00:00+02:00"],
            "datetime64[ns]",
            [pd.Timestamp(2020, 1, 2, 1)],
        ),
    ],
)
def test_json_values_are_cast(kind, sent, dtype, expected):
    got = values_of(kind, sent)
    assert str(got.dtype) == dtype
    assert got.tolist() == expected


def test_missing_values_stay_missing():
    assert values_of("boolean", [True, None], required=False).tolist() == [True, None]
    assert values_of("string", ["a", None], required=False).isna().tolist() == [False, True]
    assert values_of("double", [1.5, None]).isna().tolist() == [False, True]
    assert values_of("datetime", ["2020-01-01", None]).isna().tolist() == [False, True]
    assert values_of("binary", ["YWI=", None], required=False).tolist() == [b"ab", None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "x"), ("integer", None), ("long", None), ("long", "1.5"), ("double", "x"),
        ("double", [1]), ("binary", 5), ("binary", "not base64!"), ("binary", None),
        ("datetime", "soon"), ("double", {"a": 1}),
    ],
)  # fmt: skip
def test_values_that_cannot_be_cast_name_column_and_type(kind, value):
    with pytest.raises(ScoringError) as caught:
        values_of(kind, [value])
    assert caught.value.status == 400
    assert "'c'" in caught.value.message
    assert kind in caught.value.message


@pytest.mark.parametrize(
    ("dtype", "kind", "passes"),
    [
        ("int8", "integer", True), ("int32", "long", True), ("uint32", "long", True),
        ("uint64", "long", False), ("int64", "integer", False), ("int32", "double", True),
        ("int64", "double", False), ("int32", "float", False), ("float32", "double", True),
        ("float64", "float", False), ("float64", "long", False), ("bool", "long", False),
        ("int64", "boolean", False), ("int64", "string", False), ("bool", "boolean", True),
    ],
)  # fmt: skip
def test_safe_casts_only_for_typed_tables(dtype, kind, passes):
    sig = signature(column(kind))
    frame = pd.DataFrame({"c": np.array([0, 1, 7]).astype(dtype)})
    if passes:
        assert sig.enforce(frame)["c"].tolist() == frame["c"].tolist()
        return
    with pytest.raises(ScoringError) as caught:
        sig.enforce(frame)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    for word in ("'c'", dtype, kind):
        assert word in caught.value.message


def test_zeros_and_ones_may_become_floats():
    frame = pd.DataFrame({"c": np.array([0, 1, 1])})
    assert str(signature(column("double")).enforce(frame)["c"].dtype) == "float64"


def test_integers_with_missing_values_get_a_hint():
    with pytest.raises(ScoringError, match="missing values"):
        signature(column("long")).enforce(pd.DataFrame({"c": [1.0, np.nan]}))


def test_columns_are_ordered_dropped_and_missed():
    sig = signature(column("long", "a"), column("long", "b", required=False), column("long", "c"))
    got = sig.enforce(pd.DataFrame({"z": [1], "c": [3], "a": [1]}))
    assert list(got.columns) == ["a", "c"]
    with pytest.raises(ScoringError, match=r"The inputs \['a'\] are missing\."):
        sig.enforce(pd.DataFrame({"c": [3]}))
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "a", "c"])
    with pytest.raises(ScoringError, match="more than once"):
        sig.enforce(twice)


def test_index_is_kept():
    nested = {"type": "array", "items": {"type": "long"}, "name": "b", "required": True}
    sig = signature(column("long", "a"), nested)
    got = apply(sig, {"dataframe_split": {"columns": ["a", "b"], "data": [[1, [2]]], "index": [7]}})
    assert got.index.tolist() == [7]


def test_unnamed_columns_go_by_position():
    sig = signature({"type": "double"}, {"type": "long"})
    got = apply(sig, {"dataframe_split": {"data": [[1, 2, 9], [3, 4, 9]]}})
    assert [str(dtype) for dtype in got.dtypes] == ["float64", "int64"]
    with pytest.raises(ScoringError, match="2 inputs, got 1"):
        sig.enforce(pd.DataFrame({"a": [1.5]}))


POINT = {
    "type": "object",
    "properties": {"x": {"type": "double"}, "y": {"type": "double", "required": False}},
}
NESTED = {
    "array": {"type": "array", "items": {"type": "string"}},
    "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "long"}}},
    "object": POINT,
    "points": {"type": "array", "items": POINT},
    "map": {"type": "map", "values": {"type": "double"}},
    "any": {"type": "any"},
}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("array", ["a", "b"]), ("array", []), ("matrix", [[1, 2], [3]]), ("object", {"x": 1.5}),
        ("object", {"x": 1.5, "y": None}), ("object", {"x": 1}), ("points", [{"x": 1.5}, {"x": 2.5}]),
        ("map", {"a": 1.5}), ("map", {}), ("any", {"k": [1, None]}), ("any", None),
    ],
)  # fmt: skip
def test_nested_values_pass(kind, value):
    assert values_of(NESTED[kind]["type"], [value], required=True, **nested_parts(kind))[0] == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("array", "a"), ("array", None), ("array", [1, 2]), ("matrix", [1]), ("matrix", [["a"]]),
        ("matrix", [[1.5]]), ("object", {"y": 1.5}), ("object", {"x": 1.5, "z": 1}),
        ("object", {"x": "a"}), ("object", {"x": 5}), ("object", {"x": None}), ("object", [1]),
        ("points", [{"x": "a"}]), ("map", {"a": "x"}), ("map", [1]), ("map", {"a": None}),
    ],
)  # fmt: skip
def test_nested_values_are_refused(kind, value):
    with pytest.raises(ScoringError) as caught:
        values_of(NESTED[kind]["type"], [value], required=True, **nested_parts(kind))
    assert "'c'" in caught.value.message


def nested_parts(kind):
    return {key: value for key, value in NESTED[kind].items() if key != "type"}


def test_optional_nested_values_may_be_missing():
    for kind in NESTED:
        got = values_of(NESTED[kind]["type"], [None], required=False, **nested_parts(kind))
        assert got.tolist() == [None]


def tensor(dtype, shape, name=None):
    document = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
    return dict(document, name=name) if name else document


def test_tensors():
    sig = signature(tensor("float64", [-1, 3]))
    got = apply(sig, {"inputs": [[1, 2, 3]]})
    assert (got.dtype, got.shape) == (np.float64, (1, 3))
    assert apply(sig, {"dataframe_split": {"data": [[1, 2, 3]]}}).tolist() == [[1, 2, 3]]
    for wrong in ([[1, 2]], [1, 2, 3], [[[1, 2, 3]]], [["a", "b", "c"]]):
        with pytest.raises(ScoringError):
            apply(sig, {"inputs": wrong})
    with pytest.raises(ScoringError, match="dtype float64, got int64"):
        sig.enforce(np.array([[1, 2, 3]]))


def test_named_tensors():
    sig = signature(tensor("float32", [-1, 2], "left"), tensor("int64", [-1], "right"))
    rows = [{"left": [1, 2], "right": 1}, {"left": [3, 4], "right": 2}]
    columns = {"left": [[1, 2], [3, 4]], "right": [1, 2]}
    for document in ({"instances": rows}, {"inputs": columns}, {"dataframe_records": rows}):
        got = apply(sig, document)
        assert got["left"].dtype == np.float32
        assert got["left"].tolist() == [[1, 2], [3, 4]]
        assert got["right"].tolist() == [1, 2]
    with pytest.raises(ScoringError, match=r"The inputs \['right'\] are missing\."):
        apply(sig, {"inputs": {"left": [[1, 2]]}})


@pytest.mark.parametrize("mark", [{"required": False}, {"optional": True}])  # MLflow 2.10; 2.6
def test_an_optional_column_may_be_left_out(mark):
    enforced = signature(column("double", name="a"), column("double", name="b", **mark)).enforce(
        pd.DataFrame({"a": [1.0]})
    )
    assert list(enforced.columns) == ["a"]


@pytest.mark.parametrize(
    "inputs",
    [
        [], [{"type": "unknown"}], [{"type": "array"}], [{"type": "tensor", "tensor-spec": {}}],
        [{"type": "long", "name": "a"}, {"type": "long"}],
        [tensor("int64", [-1]), {"type": "long"}], [tensor("int64", [-1])] * 2,
    ],
)  # fmt: skip
def test_malformed_signatures_are_refused_at_load(inputs):
    with pytest.raises(SignatureError):
        Schema.from_json(inputs)


@pytest.mark.parametrize(
    "signature",
    [
        SignatureConfig(inputs=[{"type": "unknown"}]),
        SignatureConfig(inputs=["double"]),
        SignatureConfig(inputs={"type": "double"}),
        SignatureConfig(inputs=[{"type": ["double"]}]),
        SignatureConfig(params=[{"type": "double"}]),
        SignatureConfig(params=[3]),
        SignatureConfig(params=[{"name": "a", "type": "double", "shape": 1}]),
    ],
)
def test_a_malformed_signature_is_an_error_of_the_model(signature):
    with pytest.raises(ModelLoadError, match=r"^The model's signature is malformed: .*[^.]\.$"):
        Signature.from_config(ModelConfig(signature=signature))


def params(*specs):
    from scoring_server.signature.schema import read_params

    return Params(read_params(list(specs)))


def spec(kind, default, shape=None, **more):
    return dict({"name": "p", "type": kind, "default": default, "shape": shape}, **more)


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("long", 5, 5), ("double", 5, 5.0), ("float", 5, 5.0), ("boolean", True, True),
        ("string", "a", "a"), ("datetime", "2020-01-02", "2020-01-02"), ("double", None, None),
    ],
)  # fmt: skip
def test_params_are_converted(kind, sent, expected):
    got = params(spec(kind, None)).enforce({"p": sent, "unknown": 1})
    assert list(got) == ["p"]
    assert str(got["p"]) == str(expected)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("long", 1.5), ("long", "5"), ("long", True), ("integer", [1]), ("double", "1"),
        ("boolean", 1), ("string", 5), ("datetime", "soon"), ("datetime", 5),
    ],
)  # fmt: skip
def test_params_are_refused(kind, sent):
    with pytest.raises(ScoringError) as caught:
        params(spec(kind, None)).enforce({"p": sent})
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "p: " in caught.value.message
    assert kind in caught.value.message


def test_param_lists_and_objects():
    assert params(spec("double", [1.0], [-1])).enforce({"p": [1, 2.5]}) == {"p": [1.0, 2.5]}
    for wrong in (1.5, [["a"]], "ab"):
        with pytest.raises(ScoringError):
            params(spec("double", [1.0], [-1])).enforce({"p": wrong})
    nested = spec("object", {"depth": 1}, properties={"depth": {"type": "long"}})
    assert params(nested).enforce({"p": {"depth": 2}}) == {"p": {"depth": 2}}
    with pytest.raises(ScoringError):
        params(nested).enforce({"p": {"depth": "x"}})


def test_defaults_are_not_shared_between_requests():
    several = params(spec("double", [1.0], [-1]))
    several.enforce(None)["p"].append(5.0)
    several.enforce({})["p"].append(5.0)
    assert several.enforce({}) == {"p": [1.0]}


def test_params_without_a_schema_are_dropped():
    assert Params(None).enforce({"a": 1}) == {}
    assert Params(None).enforce(None) is None
    with pytest.raises(ScoringError):
        params(spec("long", 1)).enforce([1])


def test_the_value_that_does_not_fit_is_found_by_halves():
    asked = []

    def convert(part):
        asked.append(len(part))
        return part.astype(float)

    values = pd.Series([1.0] * 99_999 + ["q"], dtype=object)
    assert column_misfit(values, convert) == "got string 'q' in row 100000 of 100000"
    assert len(asked) < 20
    assert sum(asked) < 2 * len(values)
