"""Hand-picked requests of the differential suite: (model, body, Content-Type)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

JSON, CSV = "application/json", "text/csv"


class Case(NamedTuple):
    """One request to one model of the oracle's `log_models.py`."""

    model: str
    body: bytes
    content_type: str = JSON

    @property
    def id(self) -> str:
        """A name for the test."""
        text = self.body.decode("utf-8", "backslashreplace").replace(" ", "")
        return f"{self.model}-{text[:70]}"


def _case(model: str, body: Any, content_type: str = JSON) -> Case:
    if isinstance(body, bytes):
        return Case(model, body, content_type)
    text = body if isinstance(body, str) else json.dumps(body)
    return Case(model, text.encode(), content_type)


# One good value a type, then values that must be cast or refused.
GOOD = {
    "boolean": True, "integer": 1, "long": 2, "float": 0.5, "double": 1.5, "string": "a",
    "binary": "dGVzdA==", "datetime": "2020-01-02T03:04:05",
}  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -7, 2.0, 2.5, 1e300, 2**31 - 1, 2**53 + 1, 2**63 - 1,
    "", "1", "1.5", "true", "text", "2020-01-02", "dGVzdA==", "ä", [1, 2], ["a"], [], {"a": 1}, [[1], [2]],
]  # fmt: skip


def _scalar_cases() -> list[Case]:
    cases = []
    for model in ("scalars", "optional_scalars"):
        good = {name: [value] * 2 for name, value in GOOD.items()}
        cases += [
            _case(
                model, {"dataframe_split": {"columns": list(GOOD), "data": [list(GOOD.values())]}}
            ),
            _case(model, {"dataframe_records": [GOOD, GOOD]}),
            _case(model, {"inputs": good}),
            _case(model, {"inputs": [GOOD, GOOD]}),
            _case(model, {"inputs": GOOD}),
            _case(model, {"instances": [GOOD, GOOD]}),
            _case(model, {"instances": good}),
        ]
        for name in GOOD:
            fewer = {key: value for key, value in GOOD.items() if key != name}
            cases.append(_case(model, {"dataframe_records": [fewer]}))
            cases.append(_case(model, {"inputs": [fewer]}))
            cases.append(_case(model, {"inputs": {k: [v] for k, v in fewer.items()}}))
            for value in ODD_VALUES:
                row = dict(GOOD, **{name: value})
                cases.append(_case(model, {"dataframe_records": [row, GOOD]}))
                cases.append(_case(model, {"inputs": {k: [v, GOOD[k]] for k, v in row.items()}}))
            for value in ODD_VALUES[:9]:
                row = dict(GOOD, **{name: value})
                cases.append(_case(model, {"inputs": [row, GOOD]}))
                cases.append(_case(model, {"instances": [row, GOOD]}))
                cases.append(_case(model, {"inputs": row}))
    return cases


def _table_cases() -> list[Case]:
    abcd = {"columns": list("abcd"), "data": [[1, 2, 3, 4], [5, 6, 7, 8.5]]}
    bodies: list[Any] = [
        {"dataframe_split": abcd},
        {"dataframe_split": dict(abcd, index=[7, 9])},
        {"dataframe_split": dict(abcd, index=["x", "y"])},
        {"dataframe_split": dict(abcd, index=[1])},
        {"dataframe_split": dict(abcd, columns=list("dcba"))},
        {"dataframe_split": dict(abcd, columns=list("abcz"))},
        {"dataframe_split": dict(abcd, columns=list("aabc"))},
        {"dataframe_split": dict(abcd, extra=1)},
        {"dataframe_split": {"data": abcd["data"]}},
        {"dataframe_split": {"columns": list("abcd"), "data": []}},
        {"dataframe_split": {"columns": list("abcd")}},
        {"dataframe_split": {"columns": list("abcd"), "data": [[1, 2, 3]]}},
        {"dataframe_split": {"columns": list("abcd"), "data": [[1, 2, 3, 4], [1]]}},
        {"dataframe_split": {"columns": list("abcde"), "data": [[1, 2, 3, 4, "x"]]}},
        {"dataframe_split": {"columns": list("abcd"), "data": [[None, 1, "2", True]]}},
        {"dataframe_split": {"columns": list("abcd"), "data": [["x", 1, 2, 3]]}},
        {"dataframe_split": {"columns": list("abcd"), "data": [1, 2, 3, 4]}},
        {"dataframe_split": {"columns": "abcd", "data": [[1, 2, 3, 4]]}},
        {"dataframe_split": []}, {"dataframe_split": None}, {"dataframe_split": "x"},
        {"dataframe_records": []}, {"dataframe_records": {}}, {"dataframe_records": [1]},
        {"dataframe_records": [[1, 2, 3, 4]]}, {"dataframe_records": None},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 3, "d": 4, "e": "extra"}]},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1}]},
        {"dataframe_records": [{"d": 1, "c": 2, "b": 3, "a": 4}]},
        {"inputs": []}, {"inputs": {}}, {"inputs": None}, {"inputs": 5}, {"inputs": "x"},
        {"inputs": [[1, 2, 3, 4]]}, {"inputs": [1, 2, 3, 4]}, {"inputs": [[1, 2], [3]]},
        {"inputs": {"a": [1], "b": [2], "c": [3], "d": [4]}},
        {"inputs": {"a": [1, 2], "b": [2], "c": [3], "d": [4]}},
        {"inputs": {"a": 1, "b": 2, "c": 3, "d": 4}},
        {"inputs": {"a": 1.5, "b": 2, "c": 3, "d": 4}},
        {"inputs": {"a": [[1, 2]], "b": [2], "c": [3], "d": [4]}},
        {"inputs": [{"a": 1, "b": 2, "c": 3, "d": 4}]},
        {"inputs": [{"a": 1, "b": 2, "c": 3, "d": 4}, 5]},
        {"inputs": [{"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 2}]},
        {"instances": []}, {"instances": {}}, {"instances": None}, {"instances": 5},
        {"instances": [[1, 2, 3, 4]]}, {"instances": [1, 2]}, {"instances": [[1], [2, 3]]},
        {"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}] * 2},
        {"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 2}]},
        {"instances": [{"a": 1}, 5]},
        {"instances": {"a": [1], "b": [2], "c": [3], "d": [4]}},
        {"instances": {"a": [1, 2], "b": [2], "c": [3], "d": [4]}},
        {}, [], 5, "x", None, {"a": 1}, {"inputs": [1], "instances": [1]},
        {"inputs": [1], "dataframe_records": []}, {"columns": ["a"], "data": [[1]]},
        {"inputs": [[1, 2, 3, 4]], "params": {"x": 1}}, {"inputs": [[1, 2, 3, 4]], "params": 5},
        {"inputs": [[1, 2, 3, 4]], "params": None}, {"inputs": [1], "signature_name": "s"},
        {"instances": [1], "signature_name": "s"}, {"inputs": [1], "unknown": 1},
        "not json", "{", '{"inputs": [1, NaN]}', '{"inputs": [Infinity]}', '{"inputs": [1e999]}',
        '{"inputs": [18446744073709551616]}', '{"inputs": [9223372036854775807]}',
        '{"inputs": [-0, -0.0, 0.1, 1e-7, 123456789012345678]}', '{"inputs": ["\\ud800"]}',
        '\ufeff{"inputs": [1]}', b'{"inputs": ["\xff"]}', b"", b"\x00", b'{"inputs": [1]}\x00',
        '{"inputs": ["a\\u0000b"]}',
    ]  # fmt: skip
    models = (
        "no_signature", "doubles", "mixed_numbers", "unnamed_columns", "one_string", "one_long",
        "one_named_string", "tensor", "tensor_1d", "tensor_text", "tensors_named",
        "tensor_one_named", "one_array",
    )  # fmt: skip
    return [_case(model, body) for model in models for body in bodies]


def _number_cases() -> list[Case]:
    cases = []
    for value in ODD_VALUES:
        row = {"n": value, "x": value, "i": value, "f": value}
        cases.append(_case("mixed_numbers", {"dataframe_records": [row]}))
        for name in row:
            one = dict({"n": 1, "x": 1.5, "i": 1, "f": 0.5}, **{name: value})
            cases.append(_case("mixed_numbers", {"dataframe_records": [one]}))
            cases.append(_case("mixed_numbers", {"instances": [one]}))
            cases.append(_case("mixed_numbers", {"inputs": {k: [v] for k, v in one.items()}}))
        for model in ("one_long", "one_named_string", "one_string", "one_array", "no_signature"):
            cases.append(_case(model, {"inputs": value}))
            cases.append(_case(model, {"inputs": [value]}))
            cases.append(_case(model, {"inputs": [value, 1]}))
            cases.append(_case(model, {"instances": [value]}))
            cases.append(_case(model, {"inputs": {"n": value, "text": value, "values": value}}))
    return cases


def _tensor_cases() -> list[Case]:
    tensor: list[Any] = [
        [[1, 2, 3]], [[1.5, 2, 3], [4, 5, 6]], [1, 2, 3], [[1, 2]], [[[1, 2, 3]]], [["a", "b", "c"]],
        [[None, 1, 2]], [[True, False, True]], [[]], [[1, 2], [3]], 5, "a",
    ]  # fmt: skip
    cases = []
    for model in (
        "tensor",
        "tensor_1d",
        "tensor_image",
        "tensor_ragged",
        "tensor_text",
        "no_signature",
    ):
        for value in tensor:
            cases.append(_case(model, {"inputs": value}))
            cases.append(_case(model, {"instances": value}))
            cases.append(_case(model, {"dataframe_split": {"data": value}}))
        cases.append(_case(model, {"inputs": {"x": [[1, 2, 3]]}}))
    images: list[Any] = [
        [[[1, 2], [3, 4]]], [[[1, 256], [3, -4]]], [[[1, 2], [3, 4]]] * 2, [[[1, 2, 3], [3, 4, 5]]],
        [[[1.5, 2], [3, 4]]],
    ]  # fmt: skip
    for value in images:
        cases.append(_case("tensor_image", {"inputs": value}))
        cases.append(_case("tensor_ragged", {"instances": value}))
    cases += [
        _case("tensor_image", {"dataframe_split": {"columns": ["i"], "data": [[[1, 2, 3, 4]]]}}),
        _case("tensor_image", {"dataframe_records": [{"i": [1, 2, 3, 4]}, {"i": [1, 2, 3]}]}),
    ]
    named: list[Any] = [
        {"left": [[1, 2]], "right": [1]}, {"left": [[1, 2], [3, 4]], "right": [1, 2]},
        {"left": [[1, 2], [3, 4]], "right": [1]}, {"left": [[1, 2]]}, {"left": [1, 2], "right": [1]},
        {"left": [[1, 2]], "right": [1.5]}, {"left": [[1, 2]], "right": ["a"]},
        {"left": [[1, 2]], "right": [1], "extra": [1]}, {"left": 5, "right": 1},
    ]  # fmt: skip
    for value in named:
        cases.append(_case("tensors_named", {"inputs": value}))
        cases.append(_case("tensors_named", {"instances": value}))
        cases.append(_case("tensors_named", {"dataframe_records": [value]}))
    rows: list[Any] = [
        [{"left": [1, 2], "right": 1}], [{"left": [1, 2], "right": 1}, {"left": [3, 4], "right": 2}],
        [{"left": [1, 2]}], [{"left": [1, 2, 3], "right": 1}], [{"left": 1, "right": 1}],
        [{"left": [1, 2], "right": "a"}], [{"left": ["a", "b"], "right": 1}],
        [{"left": [1, 2], "right": 1}, {"left": [3], "right": 2}],
    ]  # fmt: skip
    for value in rows:
        cases.append(_case("tensors_named", {"instances": value}))
        cases.append(_case("tensors_named", {"inputs": value}))
        cases.append(_case("tensors_named", {"dataframe_records": value}))
    for value in ([[1, 2]], [[1, 2], [3, 4]], {"x": [[1, 2]]}, [{"x": [1, 2]}], {"y": [[1, 2]]}):
        cases.append(_case("tensor_one_named", {"inputs": value}))
        cases.append(_case("tensor_one_named", {"instances": value}))
    return cases


def _nested_cases() -> list[Case]:
    good: dict[str, Any] = {"tags": ["a", "b"], "point": {"x": 1.5, "y": 0.5}}
    rows: list[Any] = [
        good,
        dict(good, matrix=[[1, 2], [3]], scores={"a": 1.5}, anything={"k": [1, None]}),
        dict(good, points=[{"x": 1.5}, {"x": 2.5, "y": 1.5}]),
        dict(good, matrix=None, scores=None, anything=None, points=None),
        dict(good, matrix=[], scores={}, anything=[], points=[]),
        dict(good, tags=[]), dict(good, tags=None), dict(good, tags="a"), dict(good, tags=[1, 2]),
        dict(good, tags=["a", None]), dict(good, tags=[None]), dict(good, tags=[["a"]]),
        dict(good, point={"x": 1.5}), dict(good, point={"y": 1.5}), dict(good, point=None),
        dict(good, point={"x": 1.5, "z": 1}), dict(good, point={"x": "a"}), dict(good, point=[1]),
        dict(good, point={"x": 1}), dict(good, point={"x": 5}), dict(good, point={"x": True}),
        dict(good, point={"x": None}), dict(good, point={"x": 1.5, "y": None}), dict(good, point={}),
        dict(good, scores={"a": 1}), dict(good, scores={"a": 5}), dict(good, scores={"a": "x"}),
        dict(good, scores=[1]), dict(good, scores={"a": None}), dict(good, matrix=[1]),
        dict(good, matrix=[["a"]]), dict(good, matrix=[[1.5]]), dict(good, matrix=[[1, None]]),
        dict(good, matrix=[None, [1]]), dict(good, points=[{"x": "a"}]), dict(good, points={"x": 1.5}),
        dict(good, extra=1), {"tags": ["a"]},
    ]  # fmt: skip
    cases = []
    for row in rows:
        cases += [
            _case("nested", {"dataframe_records": [row]}),
            _case("nested", {"dataframe_records": [row, good]}),
            _case("nested", {"inputs": row}),
            _case("nested", {"inputs": [row]}),
            _case("nested", {"inputs": [row, good]}),
            _case("nested", {"instances": [row]}),
            _case(
                "nested", {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
            ),
        ]
    for times in (["2020-01-02"], ["2020-01-02T03:04:05", "2021-01-01"], ["x"], [5], [None]):
        cases.append(_case("array_of_times", {"inputs": {"times": times}}))
        cases.append(_case("array_of_times", {"dataframe_records": [{"times": times}]}))
    return cases


def _param_cases() -> list[Case]:
    values: list[Any] = [
        {"flag": True}, {"flag": 1}, {"flag": "true"}, {"count": 5}, {"count": 5.0}, {"count": "5"},
        {"count": 2**40}, {"count": True}, {"large": 5}, {"large": 1.5}, {"narrow": 1}, {"narrow": 1.5},
        {"narrow": "1"}, {"wide": 2}, {"wide": True}, {"wide": None}, {"text": "b"}, {"text": 5},
        {"text": ["b"]}, {"when": "2021-02-03"}, {"when": "2021-02-03T04:05:06"}, {"when": "x"},
        {"when": 5}, {"when": None}, {"when": ["2021-02-03"]}, {"list": [1.5]}, {"list": [1, 2]},
        {"list": []}, {"list": 1.5}, {"list": ["a"]}, {"list": [[1.5]]}, {"list": None},
        {"list": [None]}, {"words": ["a", "b"]}, {"words": "ab"}, {"nothing": "x"}, {"nothing": None},
        {"options": {"depth": 2}}, {"options": {"depth": 2, "name": "n"}}, {"options": {"name": "n"}},
        {"options": {"depth": "x"}}, {"options": 5}, {"options": {"depth": 2, "other": 1}},
        {"options": None}, {"unknown": 1}, {"unknown": 1, "flag": True}, {}, None, [], 5, "x",
        {"flag": "x", "count": "y"},
    ]  # fmt: skip
    cases = []
    for params in values:
        for model in ("params", "without_params", "doubles", "no_signature"):
            row = dict.fromkeys("abcdx", 1.5)
            cases.append(_case(model, {"dataframe_records": [row], "params": params}))
    cases.append(_case("params", {"dataframe_records": [{"x": 1.5}]}))
    return cases


def _raw_cases() -> list[Case]:
    messages = [{"role": "user", "content": "Tell a joke!"}]
    bodies: list[Any] = [
        {"messages": messages},
        {"messages": messages, "temperature": 0.5, "max_tokens": 20},
        {"messages": messages, "temperature": "warm"},
        {"messages": messages, "unknown": 1},
        {"messages": []}, {"messages": None}, {"messages": "x"}, {"messages": [{"role": "user"}]},
        {"messages": messages, "inputs": [1]},
        {"messages": messages, "params": {"temperature": 0.5}},
        {"messages": messages, "custom_inputs": {"a": "b"}},
        {"messages": messages, "context": {"conversation_id": "1"}},
        {"prompt": "once"}, {"prompt": ["a", "b"], "max_tokens": 5}, {"input": "text"},
        {"input": ["a"]}, {"input": [{"role": "user", "content": "hi"}]},
        {"input": [{"role": "user", "content": "hi"}], "custom_inputs": {"k": 1}},
        {"inputs": {"messages": messages}, "params": {"temperature": 0.5, "max_tokens": 20}},
        {"inputs": {"messages": messages}}, {"inputs": [{"messages": messages}]},
        {"dataframe_records": [{"messages": messages}]},
        {"inputs": {"input": [{"role": "user", "content": "hi"}]}},
    ]  # fmt: skip
    models = ("chat_payload", "chat_model", "chat_agent", "responses_agent", "no_signature",
              "doubles", "one_string", "hint_records")  # fmt: skip
    return [_case(model, body) for model in models for body in bodies]


def _hint_cases() -> list[Case]:
    values: list[Any] = [
        [1, 2], ["a"], [1.5], [], None, 5, {"a": 1}, [{"a": 1}], [{"role": "u", "content": "c"}],
        [{"role": "u", "content": "c", "weight": 1.5}], [{"role": "u"}], ["2020-01-02T03:04:05"],
        ["2020-01-02"], ["dGVzdA=="], ["ä"], [None], [True],
    ]  # fmt: skip
    models = (
        "hint_numbers",
        "hint_messages",
        "hint_times",
        "hint_blobs",
        "hint_records",
        "function",
    )
    cases = []
    for model in models:
        for value in values:
            cases.append(_case(model, {"inputs": value}))
        cases += [
            _case(model, {"instances": [1]}), _case(model, {"dataframe_records": [{"a": 1}]}),
            _case(model, {"inputs": [1], "params": {"a": 1}}),
            _case(model, "a\n1\n", CSV),
        ]  # fmt: skip
    examples: list[Any] = [
        ["a", "b"], ["a"], {"a": 1.5, "b": "x"}, [{"a": 1, "b": "x"}], [{"a": 1, "b": "x"}] * 2,
        {"a": [1, 2]}, {"a": [1.5, 2.5], "b": ["x", "y"]}, "text", 5,
    ]  # fmt: skip
    for model in (
        "example_list",
        "example_dict",
        "example_records",
        "example_frame",
        "example_scalar",
    ):
        for value in examples:
            cases.append(_case(model, {"inputs": value}))
            cases.append(_case(model, {"instances": value}))
        cases.append(_case(model, {"dataframe_records": [{"a": 1, "b": "x"}] * 2}))
        cases.append(_case(model, {"dataframe_split": {"data": [["x"], ["y"]]}}))
    return cases


def _csv_cases() -> list[Case]:
    texts: list[Any] = [
        "a,b,c,d\n1,2,3,4\n", "a,b,c,d\n1,2,3,4", "d,c,b,a\n1,2,3,4\n", "a,b,c\n1,2,3\n",
        "a,b,c,d\n", "a,b,c,d\nx,2,3,4\n", "a,b,c,d\n,2,3,4\n", "a,b,c,d\r\n1,2,3,4\r\n5,6,7,8\r\n",
        "a,b,c,d,e\n1,2,3,4,5\n", '"a","b","c","d"\n"1","2","3","4"\n', "", "\n", "x", "n\n1\n2\n",
        "n\n1.5\n", "n\n\n", "text\nhello\n", 'text\n"a,b"\n', "text\n1\n", "text\nNA\n", "a;b\n1;2\n",
        "0,1\n1.5,2\n", "p,q\n1.5,2\n", "x\n1.5\n", b"\xff", "a,b,c,d\n1,2,3\n", "a,b,c,d\n1,2,3,4,5\n",
        "n,x,i,f\n1,1.5,2,0.5\n", "n,x,i\n1,2,3\n", "n,x,i,f\n1.5,1,2,3\n", "n,x,i,f\n1,1.5,2,\n",
        "a,b\n1,2020-01-01\n", "a,b\n1,dGVzdA==\n", "boolean,integer\ntrue,1\n",
        ",a,b,c,d\n0,1,2,3,4\n",
    ]  # fmt: skip
    models = ("doubles", "mixed_numbers", "unnamed_columns", "one_long", "one_named_string",
              "one_string", "no_signature", "tensor", "params", "optional_scalars")  # fmt: skip
    return [_case(model, text, CSV) for model in models for text in texts]


def _answer_cases() -> list[Case]:
    kinds = [
        "int_array", "float_array", "float32_array", "array_2d", "array_0d", "empty_array",
        "bool_array", "object_array", "object_array_of_arrays", "text_array", "bytes_array", "days",
        "seconds", "microseconds", "nanoseconds", "frame", "empty_frame", "category_frame",
        "int_columns", "series", "unnamed_series", "date_series", "list", "tuple", "text", "number",
        "float", "nan", "none", "large_int", "negative", "numpy_scalar", "numpy_int",
        "dict_of_arrays", "list_of_arrays", "list_of_numpy", "nested", "int_keys", "date", "datetime",
        "aware", "time", "timestamp", "datetime64", "bytes", "long_bytes", "bytearray",
        "list_of_dates", "unicode", "deep", "raise ValueError", "raise MlflowException",
        "raise not found", "unknown",
    ]  # fmt: skip
    cases = [_case("answers", {"inputs": {"kind": kind}}) for kind in kinds]
    return cases + [_case("answers", {"kind": kind, "prompt": "p"}) for kind in kinds]


def _flavor_cases() -> list[Case]:
    numbers = {"columns": ["age", "income"], "data": [[20, 1.5], [65, 4.5]]}
    row = {"age": 20, "income": 1.5, "city": "Graz", "since": "2020-05-01"}
    cases = []
    for model in ("sklearn_plain", "sklearn_proba", "sklearn_many_outputs", "xgboost", "lightgbm",
                  "statsmodels"):  # fmt: skip
        cases += [
            _case(model, {"dataframe_split": numbers}),
            _case(model, {"inputs": [[20, 1.5], [65, 4.5]]}),
            _case(model, {"instances": [{"age": 20, "income": 1.5}]}),
            _case(model, {"inputs": {"age": [20], "income": [1.5]}}),
            _case(model, {"dataframe_records": [{"age": 20, "income": None}]}),
            _case(model, "age,income\n20,1.5\n", CSV),
        ]
    for value in (row, dict(row, city=None), dict(row, since=None), dict(row, since="x"),
                  dict(row, age=1.5), dict(row, age="20"), dict(row, city="Unknown")):  # fmt: skip
        cases += [
            _case("sklearn_pipeline", {"dataframe_records": [value, row]}),
            _case("sklearn_pipeline", {"inputs": {k: [v] for k, v in value.items()}}),
            _case("sklearn_pipeline", {"inputs": [value]}),
        ]
    for model in ("from_code", "artifacts", "code_paths", "stream"):
        cases.append(_case(model, {"inputs": [1, 2]}))
        cases.append(_case(model, {"inputs": {"count": 2}}))
    return cases


CASES = {
    "scalars": _scalar_cases(),
    "tables": _table_cases(),
    "numbers": _number_cases(),
    "tensors": _tensor_cases(),
    "nested": _nested_cases(),
    "params": _param_cases(),
    "raw": _raw_cases(),
    "hints": _hint_cases(),
    "csv": _csv_cases(),
    "answers": _answer_cases(),
    "flavors": _flavor_cases(),
}
