"""The Open Inference Protocol V2: routes, tensors in JSON and binary, answers, refusals."""

from __future__ import annotations

import json
import struct
import sys

import numpy as np
import pytest

from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
from scoring_server.protocols.open_inference.protocol import OpenInferenceProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from scoring_server.scoring.scorer import Scorer
from scoring_server.service import Batching

JSON = "application/json"
LENGTH = "Inference-Header-Content-Length"
DOUBLES = [{"name": name, "type": "double"} for name in "ab"]
SCALARS = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
TENSORS = [
    {"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}},
    {"name": "t", "type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}},
]
PARAMS = [{"name": "factor", "type": "double", "default": 1.0, "shape": None}]

# What it was given.
SAME = """
    class Model:
        def predict(self, model_input, params=None):
            return model_input
"""
# Counts its calls; answers with the sum of each row.
SUMS = """
    import pandas as pd

    class Model:
        calls = 0

        def predict(self, model_input, params=None):
            Model.calls += 1
            table = model_input.to_numpy() if hasattr(model_input, "columns") else model_input
            return (params or {}).get("factor", 1) * table.sum(axis=1)
"""


def tensor(name, datatype, data, shape=None, **parameters):
    value = {"name": name, "datatype": datatype, "data": data}
    value["shape"] = [len(data), 1] if shape is None else shape
    return dict(value, parameters=parameters) if parameters else value


def binary(inputs, **more):
    """A body with the inputs' arrays or lists of bytes behind its JSON, and its headers."""
    pieces = []
    documents = []
    for name, datatype, values, shape in inputs:
        if isinstance(values, list):
            values = b"".join(struct.pack("<I", len(each)) + each for each in values)
        raw = values if isinstance(values, bytes) else values.tobytes()
        pieces.append(raw)
        parameters = {"binary_data_size": len(raw)}
        document = {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}
        documents.append(document)
    text = json.dumps(dict(more, inputs=documents)).encode()
    return b"".join([text, *pieces]), {LENGTH: str(len(text))}


def infer(client, body, headers=None, path="/v2/models/iris/infer"):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return client.post(path, data=body, headers=headers or {})


def document_of(client, path):
    """The JSON that is answered; not by Flask, whose older releases lose the client's application."""
    return json.loads(client.get(path).get_data())


def outputs(response):
    """The outputs by name, those in binary decoded."""
    assert response.status_code == 200, response.get_data(as_text=True)
    body = response.get_data()
    size = int(response.headers.get(LENGTH, len(body)))
    document, rest = json.loads(body[:size]), body[size:]
    found = {}
    for each in document["outputs"]:
        length = each.get("parameters", {}).get("binary_data_size")
        if length is not None:
            assert "data" not in each
            each["raw"], rest = rest[:length], rest[length:]
        found[each["name"]] = each
    assert rest == b""
    return found


def data(response, name="output-1"):
    return outputs(response)[name]["data"]


def error(response, status=400):
    assert response.status_code == status, response.get_data(as_text=True)
    document = json.loads(response.get_data())
    assert set(document) == {"error"}
    return document["error"]


@pytest.fixture
def served(models):
    """Makes a client of a model that is called iris, version 3, alias best."""

    def make(code=SAME, inputs=None, params=None, **more):
        names = {"names": ["iris", "flowers"], "version": "3", "aliases": ["best"]}
        return models.client(code, inputs, params, **dict(names, **more))

    return make


@pytest.fixture(scope="module")
def echo(shared_models):
    """A client of a model without a signature that answers with what it was given."""
    return shared_models.client(SAME, names=["iris"])


@pytest.fixture(scope="module")
def evaluating(shared_models):
    """A client of a model that answers with what the Python in the one text that it gets is."""
    code = """
        import numpy as np
        import pandas as pd

        class Model:
            def predict(self, model_input, params=None):
                return eval(model_input[0, 0])
    """
    return shared_models.client(code, names=["iris"])


# --- routes --------------------------------------------------------------------------------------


def test_health_and_metadata(served):
    client = served(inputs=DOUBLES)
    assert document_of(client, "/v2/health/live") == {"live": True}
    assert document_of(client, "/v2/health/ready") == {"live": True, "ready": True}
    ready = {"name": "iris", "ready": True}
    described = {
        "name": "iris",
        "versions": ["3"],
        "platform": "mlflow_sklearn",
        "inputs": [
            {
                "name": name,
                "datatype": "FP64",
                "shape": [-1, 1],
                "parameters": {"content_type": "np"},
            }
            for name in "ab"
        ],
        "outputs": [],
        "parameters": {"content_type": "pd"},
    }
    for name in ("iris", "flowers"):
        for version in ("", "/versions/3", "/versions/best"):
            path = "/v2/models/" + name + version
            assert document_of(client, path) == described
            assert document_of(client, path + "/ready") == ready
    server = document_of(client, "/v2")
    assert set(server) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in server["extensions"]


def test_metadata_of_each_type(served):
    kinds = [{"name": kind, "type": kind} for kind in SCALARS]
    kinds.append({"name": "list", "type": "array", "items": {"type": "long"}})
    inputs = document_of(served(inputs=kinds), "/v2/models/iris")["inputs"]
    assert [(each["datatype"], each["parameters"]["content_type"]) for each in inputs] == [
        ("BOOL", "np"), ("INT32", "np"), ("INT64", "np"), ("FP32", "np"), ("FP64", "np"),
        ("BYTES", "str"), ("BYTES", "base64"), ("BYTES", "datetime"), ("BYTES", "pd_json"),
    ]  # fmt: skip
    document = document_of(served(inputs=TENSOR), "/v2/models/iris")
    assert document["inputs"][0]["name"] == "input-0"
    assert document["inputs"][0]["shape"] == [-1, 2]
    assert document["parameters"] == {"content_type": "np"}
    document = document_of(served(inputs=TENSORS), "/v2/models/iris")
    assert document["parameters"] == {"content_type": "dict"}
    assert [each["datatype"] for each in document["inputs"]] == ["FP32", "BYTES"]


@pytest.mark.parametrize("path", ["/v2/models/x", "/v2/models/iris/versions/4"])
def test_other_models_and_versions_are_not_found(served, path):
    client = served()
    for response in (
        client.get(path),
        client.get(path + "/ready"),
        infer(client, b"?", path=path + "/infer"),
    ):
        assert "is served here" in error(response, 404)


def test_what_has_no_route_is_refused_in_the_form_of_the_protocol(served):
    client = served()
    error(client.get("/v2/nonsense"), 404)
    response = client.get("/v2/models/iris/infer")
    error(response, 405)
    assert response.headers["Allow"] == "POST"
    # What is not below /v2 has the server's own form.
    assert "error_code" in document_of(client, "/v2x")


def test_probes_need_no_token_and_all_else_does(served, tmp_path):
    (tmp_path / "token").write_text("secret")
    client = served(server={"token_file": str(tmp_path / "token")})
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"):
        assert client.get(path).status_code == 200
    # Who may not know what is served is not told.
    assert "iris" not in error(client.get("/v2/models/x/ready"), 404)
    for path in ("/v2", "/v2/models/iris", "/v2/models/x"):
        error(client.get(path), 401)
    error(infer(client, b"{}"), 401)


def test_without_names_a_model_is_called_as_its_folder_is(models):
    config = models.config(SAME)
    protocol = OpenInferenceProtocol(config)
    assert protocol.problem({"name": config.model.path.rpartition("/")[2]}) is None
    assert protocol.problem({"name": "iris"}).status == 404


# --- tables --------------------------------------------------------------------------------------


def test_columns_are_the_table_that_invocations_gets(models):
    config = models.config(SAME, DOUBLES, names=["iris"])
    scorer = Scorer(config, load_model(config))
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0], [3.0, 4.0]]}}
    other = scorer.read(models.invocation(json.dumps(split).encode()))
    a, b = [1.5, 3.0], [2.0, 4.0]
    for body in (
        request({"inputs": [tensor("a", "FP64", a), tensor("b", "FP64", b)]}),
        request({"inputs": [tensor("b", "FP64", b, [2]), tensor("a", "FP64", [[1.5], [3.0]])]}),
        request({"inputs": [tensor("a", "FP32", a), tensor("b", "INT64", b)]}),
        request({"inputs": [tensor(n, "FP64", v) for n, v in (("a", a), ("x", a), ("b", b))]}),
        request(*binary([("a", "FP64", np.array(a), [2, 1]), ("b", "FP64", np.array(b), [2])])),
    ):
        got = scorer.read(body)
        assert got.fits
        assert got.data.equals(other.data)
        assert list(got.data.columns) == ["a", "b"]
        # Laid out alike: sums in a model may differ in their last bits otherwise.
        assert got.data.to_numpy().flags == other.data.to_numpy().flags


def request(body, headers=None, config=None):
    """A request for `Scorer.read` or `Application.answer`."""
    protocol = OpenInferenceProtocol(config or ServerConfig())
    route = next(each for each in protocol.routes if each.path.endswith("<name>/infer"))
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(protocol, route, "POST", route.path, {"name": "iris"}, "", headers, body)


def test_columns_of_every_type(served):
    client = served(inputs=[{"name": kind, "type": kind} for kind in SCALARS])
    values = {
        "boolean": ("BOOL", [True, False]),
        "integer": ("INT32", [1, -2]),
        "long": ("INT64", [2**40, 3]),
        "float": ("FP32", [0.5, 1.5]),
        "double": ("FP64", [1.25, None]),
        "string": ("BYTES", ["a", "\u00fc"]),
        "binary": ("BYTES", ["dGVzdA==", "not base64!"]),
        "datetime": ("BYTES", ["2020-01-02", "2020-01-02T03:04:05"]),
    }
    answer = infer(client, {"inputs": [tensor(name, *each) for name, each in values.items()]})
    got = outputs(answer)
    assert {name: each["datatype"] for name, each in got.items()} == {
        name: datatype for name, (datatype, _) in values.items()
    }
    assert {name: each["data"] for name, each in got.items()} == dict(
        {name: each for name, (_, each) in values.items()},
        binary=["dGVzdA==", "bm90IGJhc2U2NCE="],
        datetime=["2020-01-02T00:00:00", "2020-01-02T03:04:05"],
    )
    assert json.loads(answer.get_data())["parameters"] == {"content_type": "pd"}


def test_binary_columns_of_bytes_hold_the_bytes_themselves(served):
    client = served(inputs=[{"name": "s", "type": "string"}, {"name": "b", "type": "binary"}])
    values = [("s", "BYTES", [b"\xc3\xbc", b""], [2]), ("b", "BYTES", [b"dGVzdA==", b"\xff"], [2])]
    got = outputs(infer(client, *binary(values)))
    assert got["s"]["data"] == ["\u00fc", ""]
    assert got["b"]["data"] == ["ZEdWemRBPT0=", "/w=="]
    # A client that says base64 means it.
    body, headers = binary(values)
    text = body[: int(headers[LENGTH])].replace(
        b'"binary_data_size": 17', b'"binary_data_size": 17, "content_type": "base64"'
    )
    body = text + body[int(headers[LENGTH]) :]
    assert data(infer(client, body, {LENGTH: str(len(text))}), "b") == ["dGVzdA==", "/w=="]


def test_nested_columns_are_json_or_rows(served):
    client = served(inputs=[{"name": "l", "type": "array", "items": {"type": "double"}}])
    wanted = ["[1.5,2.0]", "[3.0,4.0]"]
    for sent in (
        tensor("l", "BYTES", ["[1.5, 2.0]", "[3.0, 4.0]"]),
        tensor("l", "BYTES", [[1.5, 2.0], [3.0, 4.0]]),
        tensor("l", "FP64", [1.5, 2.0, 3.0, 4.0], [2, 2]),
    ):
        got = data(infer(client, {"inputs": [sent]}), "l")
        assert [each.replace(" ", "") for each in got] == wanted
    assert "no JSON" in error(infer(client, {"inputs": [tensor("l", "BYTES", ["["])]}))


def test_nameless_columns_are_known_by_their_number_or_position(served):
    client = served(inputs=[{"type": "double"}, {"type": "long"}])
    doubles, longs = ("FP64", [1.5]), ("INT64", [2])
    for inputs in (
        [tensor("input-0", *doubles), tensor("input-1", *longs)],
        [tensor("input-1", *longs), tensor("input-0", *doubles)],
        [tensor("x", *doubles), tensor("y", *longs)],
    ):
        got = outputs(infer(client, {"inputs": inputs}))
        assert [(name, each["data"]) for name, each in got.items()] == [("0", [1.5]), ("1", [2])]


def test_missing_columns_and_wrong_types_are_the_signature_s_to_refuse(served):
    client = served(inputs=[*DOUBLES, {"name": "c", "type": "integer", "required": False}])
    a, b = tensor("a", "FP64", [1.5]), tensor("b", "FP64", [2.0])
    assert list(outputs(infer(client, {"inputs": [a, b]}))) == ["a", "b"]
    assert "'b'" in error(infer(client, {"inputs": [a]}))
    assert "None of" in error(infer(client, {"inputs": [tensor("x", "FP64", [1.5])]}))
    wrong = tensor("c", "FP64", [1.5])
    assert "'c'" in error(infer(client, {"inputs": [a, b, wrong]}))


def test_models_of_type_hints_get_values(served):
    code = SAME.replace("return model_input", "return [repr(model_input)]")
    client = served(code, [{"type": "string"}], is_signature_from_type_hint=True)
    got = data(infer(client, {"inputs": [tensor("input-0", "BYTES", ["a", "b"])]}))
    assert got == ["['a', 'b']"]


# --- tensors -------------------------------------------------------------------------------------

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1",
    "INT16": "i2", "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_numbers_both_ways_in_json_and_binary(echo, datatype):
    dtype = np.dtype(DTYPES[datatype])
    least, most = 0, 1
    if dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = np.array([[least, most], [1, 0]], dtype)
    for body, headers in (
        ({"inputs": [tensor("x", datatype, array.tolist(), [2, 2])]}, None),
        ({"inputs": [tensor("x", datatype, array.ravel().tolist(), [2, 2])]}, None),
        binary([("x", datatype, array, [2, 2])]),
    ):
        got = outputs(infer(echo, body, headers))["output-1"]
        assert (got["datatype"], got["shape"]) == (datatype, [2, 2])
        assert got["data"] == array.ravel().tolist()
    body, headers = binary(
        [("x", datatype, array, [2, 2])], parameters={"binary_data_output": True}
    )
    response = infer(echo, body, headers)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert outputs(response)["output-1"]["raw"] == array.tobytes()


def test_texts_both_ways_in_binary(echo):
    values = [b"a", "\u00fc".encode(), b""]
    body, headers = binary([("x", "BYTES", values, [3])], parameters={"binary_data_output": True})
    got = outputs(infer(echo, body, headers))["output-1"]
    assert got["raw"] == b"".join(struct.pack("<I", len(each)) + each for each in values)
    assert got["datatype"] == "BYTES"


def test_a_tensor_of_a_signature(served):
    client = served(inputs=TENSOR)
    assert data(infer(client, {"inputs": [tensor("x", "FP64", [1, 2, None, 4], [2, 2])]})) == [
        1.0, 2.0, None, 4.0,
    ]  # fmt: skip
    # What loses nothing is cast, all else is refused as by `/invocations`.
    assert data(infer(client, {"inputs": [tensor("x", "FP32", [1, 2], [1, 2])]})) == [1.0, 2.0]
    assert "shape" in error(infer(client, {"inputs": [tensor("x", "FP64", [1, 2, 3], [1, 3])]}))
    two = {"inputs": [tensor(name, "FP64", [1, 2], [1, 2]) for name in "xy"]}
    assert "Expected one input" in error(infer(client, two))


def test_named_tensors_of_a_signature(served):
    client = served(inputs=TENSORS)
    x, t = tensor("x", "FP32", [1, 2], [1, 2]), tensor("t", "BYTES", ["a", "bc"], [2])
    got = outputs(infer(client, {"inputs": [t, x]}))
    assert [got["x"]["datatype"], got["t"]["data"]] == ["FP32", ["a", "bc"]]
    assert "'t'" in error(infer(client, {"inputs": [x]}))
    numbers = tensor("t", "INT64", [1], [1])
    assert "int64" in error(infer(client, {"inputs": [x, numbers]}))
    wrong = tensor("x", "FP64", [1, 2], [1, 2])
    assert "float64" in error(infer(client, {"inputs": [t, wrong]}))


def test_without_a_signature(served):
    client = served("""
        class Model:
            def predict(self, model_input, params=None):
                return [type(model_input).__name__, str(params)]
    """)
    column, matrix = tensor("a", "FP64", [1, 2]), tensor("m", "FP64", [1, 2], [1, 2])
    text = tensor("t", "BYTES", ["a", "b"])
    for kind, document in [
        ("ndarray", {"inputs": [column]}),
        ("DataFrame", {"inputs": [column], "parameters": {"content_type": "pd"}}),
        ("DataFrame", {"inputs": [column, text]}),
        ("dict", {"inputs": [column, matrix]}),
        ("dict", {"inputs": [column], "parameters": {"content_type": "dict"}}),
        ("list", {"inputs": [text], "parameters": {"content_type": "str"}}),
    ]:
        assert data(infer(client, document))[0] == kind


def test_the_model_may_write_to_what_it_gets(served):
    client = served("""
        class Model:
            def predict(self, model_input, params=None):
                assert model_input.flags.aligned
                model_input += 1
                return model_input
    """)
    array = np.array([1.5, 2.5])
    # Numbers that begin at an odd place.
    inputs = [("x", "FP64", array, [2])]
    for extra in ("", " "):
        body, headers = binary(inputs, id="x" + extra)
        assert data(infer(client, body, headers)) == [2.5, 3.5]


def test_parameters_are_params(served):
    client = served(SUMS, DOUBLES, PARAMS)
    inputs = [tensor("a", "FP64", [1.5]), tensor("b", "FP64", [2.0])]
    assert data(infer(client, {"inputs": inputs})) == [3.5]
    assert data(infer(client, {"inputs": inputs, "parameters": {"factor": 2}})) == [7.0]
    more = {"factor": 2.0, "other": 1, "content_type": "pd", "headers": {}}
    assert data(infer(client, {"inputs": inputs, "parameters": more})) == [7.0]
    assert "factor" in error(infer(client, {"inputs": inputs, "parameters": {"factor": "x"}}))


# --- answers -------------------------------------------------------------------------------------


def test_the_answer_says_the_model_the_version_and_the_id(served):
    client = served()
    document = {"id": "7", "inputs": [tensor("x", "FP64", [1])]}
    got = json.loads(infer(client, document, path="/v2/models/flowers/infer").get_data())
    assert [got[name] for name in ("model_name", "model_version", "id")] == ["iris", "3", "7"]
    del document["id"]
    first, second = (json.loads(infer(client, document).get_data())["id"] for _ in range(2))
    assert first != second


def test_wanted_outputs(echo):
    document = {"inputs": [tensor(name, "FP64", [1.5]) for name in "abc"]}
    document["outputs"] = [
        {"name": "c", "parameters": {"binary_data": True}},
        {"name": "a", "parameters": {"binary_data": False}},
    ]
    got = outputs(infer(echo, document))
    assert list(got) == ["c", "a"]
    assert got["c"]["raw"] == np.array([1.5]).tobytes()
    assert got["a"]["data"] == [1.5]
    document["outputs"] = [{"name": "d"}]
    assert "no output 'd'" in error(infer(echo, document))
    # An answer without names is known by MLServer's name and by the metadata's.
    one = {"inputs": [tensor("x", "FP64", [1.5], [1, 1])]}
    for name in ("output-1", "output-0"):
        assert list(outputs(infer(echo, dict(one, outputs=[{"name": name}])))) == [name]


@pytest.mark.parametrize(
    ("answer", "datatype", "content_type", "shape", "values"),
    [
        ("np.arange(3)", "INT64", "np", [3, 1], [0, 1, 2]),
        ("np.array([0.5, np.nan, np.inf])", "FP64", "np", [3, 1], [0.5, None, None]),
        ("np.float32(0.5)", "FP32", "np", [1, 1], [0.5]),
        ("[1, 2]", "INT64", "np", [2, 1], [1, 2]),
        ("[[1.5, 2], [3, 4]]", "FP64", "np", [2, 2], [1.5, 2.0, 3.0, 4.0]),
        ("5", "INT64", "np", [1, 1], [5]),
        ("'a'", "BYTES", "str", [1, 1], ["a"]),
        ("['a', 'b']", "BYTES", "str", [2, 1], ["a", "b"]),
        ("np.array(['a', 'b'], object)", "BYTES", "np", [2, 1], ["a", "b"]),
        ("[b'\\xff']", "BYTES", "base64", [1, 1], ["/w=="]),
        ("np.array(['2020-01-01'], 'M8[ns]')", "BYTES", "datetime", [1, 1], ["2020-01-01T00:00:00"]),
        ("{'a': 1}", "BYTES", "pd_json", [1, 1], ['{"a":1}']),
        ("[{'a': 1}, None]", "BYTES", "pd_json", [2, 1], ['{"a":1}', "null"]),
        ("[1, 'a']", "BYTES", "pd_json", [2, 1], ["1", '"a"']),
        ("pd.Series([1.5])", "FP64", None, [1, 1], [1.5]),
        ("pd.Series(['a', None], dtype=object)", "BYTES", "pd_json", [2, 1], ['"a"', "null"]),
        ("pd.Series(pd.array([1, None], 'Int64'))", "FP64", None, [2, 1], [1.0, None]),
        ("pd.Series(['a', 'b'], dtype='category')", "BYTES", "str", [2, 1], ["a", "b"]),
        ("[]", "FP64", "np", [0, 1], []),
    ],
)  # fmt: skip
def test_answers_by_their_type(evaluating, answer, datatype, content_type, shape, values):
    got = outputs(infer(evaluating, {"inputs": [tensor("x", "BYTES", [answer])]}))["output-1"]
    assert (got["datatype"], got["shape"]) == (datatype, shape)
    assert got.get("parameters", {}).get("content_type") == content_type
    assert [
        each.replace(" ", "") if isinstance(each, str) else each for each in got["data"]
    ] == values


def test_an_answer_that_is_no_json_is_an_error_of_the_protocol(served):
    client = served("""
        class Model:
            def predict(self, model_input, params=None):
                return object()
    """)
    assert "JSON" in error(infer(client, {"inputs": [tensor("x", "FP64", [1])]}), 500)


# --- refusals ------------------------------------------------------------------------------------

X = tensor("x", "FP64", [1.5, 2.5])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must be an object"),
        ({}, "Inputs must be a list"),
        ({"inputs": []}, "1 to"),
        ({"inputs": [1]}, "must be an object"),
        ({"inputs": [X, X]}, "more than once"),
        ({"inputs": [dict(X, name=1)]}, "name must be text"),
        ({"inputs": [dict(X, datatype="FLOAT")]}, "datatypes"),
        ({"inputs": [dict(X, shape=None)]}, "shape"),
        ({"inputs": [dict(X, shape=[-1])]}, "shape"),
        ({"inputs": [dict(X, shape=[True])]}, "shape"),
        ({"inputs": [dict(X, shape=[1] * 33)]}, "shape"),
        ({"inputs": [dict(X, shape=[2**70, 2**70])]}, "shape"),
        ({"inputs": [dict(X, shape=[2, 0])]}, "shape"),
        ({"inputs": [dict(X, shape=[3])]}, "has 3 elements, the data 2"),
        ({"inputs": [dict(X, data=[[1], [2, 3]])]}, "differ in length"),
        ({"inputs": [dict(X, data=["1", "2"])]}, "cannot hold"),
        ({"inputs": [dict(X, data=[1, {}])]}, "cannot hold"),
        ({"inputs": [dict(X, datatype="INT8", data=[1, 128])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="UINT64", data=[1, -1])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="INT64", data=[1, 2**63])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="INT64", data=[1, 1.5])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="BOOL", data=[1, 2])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="FP64", data=[1, 10**400])]}, "all of the numbers"),
        ({"inputs": [dict(X, datatype="BYTES", data=[1, "a"])]}, "are texts"),
        ({"inputs": [{key: X[key] for key in ("name", "shape", "datatype")}]}, "no data"),
        ({"inputs": [dict(X, parameters=1)]}, "must be an object"),
        ({"inputs": [dict(X, parameters={"content_type": "x"})]}, "content types"),
        ({"inputs": [X], "parameters": {"content_type": "x"}}, "content types"),
        ({"inputs": [X], "parameters": {"content_type": []}}, "content types"),
        ({"inputs": [X], "id": 7}, "id must be text"),
        ({"inputs": [X], "outputs": {}}, "Outputs must be a list"),
        ({"inputs": [X], "outputs": [{}]}, "name must be text"),
        ({"inputs": [dict(X, parameters={"binary_data_size": 16})]}, "both data and"),
        ({"inputs": [X, tensor("y", "FP64", [1])], "parameters": {"content_type": "pd"}}, "rows"),
        (
            {"inputs": [tensor("x", "BYTES", ["2020-13-01"], content_type="datetime")],
             "parameters": {"content_type": "pd"}},
            "cannot be read",
        ),
    ],
)  # fmt: skip
def test_what_is_no_request(echo, document, message):
    assert message in error(infer(echo, document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body, size: (body[:-1], str(size)), "binary_data_size"),
        (lambda body, size: (body + b"x", str(size)), "bytes after its JSON"),
        (lambda body, size: (body, str(size - 1)), "not JSON"),
        (lambda body, size: (body, "9" * 30), "Inference-Header"),
        (lambda body, size: (body, "-1"), "Inference-Header"),
        (lambda body, size: (body, str(len(body) + 1)), "Inference-Header"),
        (lambda body, size: (body.replace(b"[2]", b"[1]"), str(size)), "takes 8 bytes, got 16"),
        (lambda body, size: (body.replace(b": 16", b":-16"), str(size)), "binary_data_size"),
    ],
)
def test_binary_that_does_not_add_up(echo, change, message):
    body, headers = binary([("x", "FP64", np.array([1.5, 2.5]), [2])])
    body, length = change(body, int(headers[LENGTH]))
    assert message in error(infer(echo, body, {LENGTH: length}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x01\0\0\0", "at least 8 bytes"),
        (b"\x09\0\0\0abcdefgh", "end within an element"),
        (b"\xff\xff\xff\xffabcd", "end within an element"),
        (b"\0\0\0\0\0\0\0\0a", "1 bytes after"),
    ],
)
def test_binary_texts_that_do_not_add_up(echo, raw, message):
    assert message in error(infer(echo, *binary([("x", "BYTES", raw, [2])])))


def test_what_would_take_much_memory_is_refused_before_it_does(served):
    client = served(inputs=TENSORS, server={"max_body": 100000})
    texts = ["a" * 40000] + [""] * 1000
    x = tensor("x", "FP32", [1, 2], [1, 2])
    body = {"inputs": [x, tensor("t", "BYTES", texts, [len(texts)])]}
    assert "more than 1000000 bytes" in error(infer(client, body), 413)
    # Each of the lists in a cell takes more than what is in it.
    client = served(inputs=[{"name": "l", "type": "any"}], server={"max_body": 100000})
    raw = np.zeros(40000, "i1")
    for shape, status in (([20000, 2], 413), ([20000, 1, 1, 2], 413), ([200, 200], 200)):
        assert infer(client, *binary([("l", "INT8", raw, shape)])).status_code == status


def test_bodies_over_the_limit_are_refused_in_the_form_of_the_protocol(served):
    error(infer(served(server={"max_body": 100}), b" " * 101), 413)


# --- together ------------------------------------------------------------------------------------


def test_requests_of_both_protocols_share_a_prediction(models):
    config = models.config(SUMS, DOUBLES, PARAMS, names=["iris"], server={"max_batch_rows": 100})
    model = load_model(config)
    application = Application(config, model, Batching.of(config.server))
    counted = type(model.implementation)
    a, b = np.array([1.5, 3.0]), np.array([2.0, 4.0])
    inputs = [tensor("a", "FP64", a.tolist()), tensor("b", "FP64", b.tolist())]
    values = [("a", "FP64", a, [2]), ("b", "FP64", b, [2])]
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[7.0, 8.0]]}}
    requests = [
        request({"id": "1", "inputs": inputs}, config=config),
        models.invocation(json.dumps(split).encode()),
        request(*binary(values, id="2", parameters={"binary_data_output": True}), config=config),
        request({"id": "3", "inputs": inputs[:1]}, config=config),
    ]
    answers = models.together(application, requests)
    assert counted.calls == 1
    assert [each.status for each in answers] == [200, 200, 200, 400]
    alone = [application.answer(each) for each in requests]
    assert [each[:3] for each in answers] == [each[:3] for each in alone]
    assert json.loads(answers[0].body)["outputs"][0]["data"] == [3.5, 7.0]


def test_binary_rows_are_decoded_without_a_call_for_each_value(models):
    config = models.config(SUMS, DOUBLES, names=["iris"])
    scorer = Scorer(config, load_model(config))

    def calls(rows):
        column = np.arange(float(rows))
        values = [(name, "FP64", column, [rows]) for name in "ab"]
        sent = request(*binary(values))
        scorer.read(sent)
        count = [0]

        def note(_frame, event, _argument):
            count[0] += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            scorer.read(sent)
        finally:
            sys.setprofile(None)
        return count[0]

    # The bound of large bodies on memory is looked up and set.
    assert calls(10000) <= calls(10) + 100
