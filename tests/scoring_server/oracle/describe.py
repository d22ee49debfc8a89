"""Models that answer with what reached them."""

import datetime
import decimal

import mlflow
import numpy as np
import pandas as pd


def describe(value):
    """A text that two values share only if their types and contents are the same."""
    if isinstance(value, pd.DataFrame):
        parts = [
            f"{column!r}: {value[column].dtype} {[describe(v) for v in value[column]]}"
            for column in value.columns
        ]
        return f"DataFrame(index={list(value.index)}, {'; '.join(parts)})"
    if isinstance(value, pd.Series):
        return f"Series({value.name!r}, {value.dtype}, {[describe(v) for v in value]})"
    if isinstance(value, np.ndarray):
        return f"array({value.dtype}, {value.shape}, {[describe(v) for v in value.tolist()]})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {describe(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}[{', '.join(map(describe, value))}]"
    return f"{type(value).__name__}({value!r})"


class Describe(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {"input": describe(model_input), "params": describe(params)}


class DescribeWithoutParams(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return {"input": describe(model_input)}


class DescribeStream(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {"input": describe(model_input)}

    def predict_stream(self, context, model_input, params=None):
        yield {"input": describe(model_input)}
        for number in range(int(model_input.get("count", 0))):
            yield {"number": number}
        if model_input.get("fail"):
            raise ValueError("halfway")


def answers():
    """Values of every kind that a model may return, by name."""
    frame = pd.DataFrame(
        {
            "number": [1, 2],
            "missing": [1.5, np.nan],
            "text": ["a", None],
            "when": [pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01T12:30:00")],
            "mixed": [1, "b"],
            "flag": [True, False],
        }
    )
    times = np.array(["2020-01-01", "2021-06-01"])
    return {
        "int_array": np.array([1, 2, 3]),
        "float_array": np.array([1.5, np.nan, np.inf, -np.inf]),
        "float32_array": np.array([0.1, 2.5], dtype=np.float32),
        "array_2d": np.array([[1, 2], [3, 4]]),
        "array_0d": np.array(5),
        "empty_array": np.array([]),
        "bool_array": np.array([True, False]),
        "object_array": np.array([1, "a", None, 2.5], dtype=object),
        "object_array_of_arrays": np.array([np.array([1, 2]), np.array([1.5])], dtype=object),
        "text_array": np.array(["a", "b"]),
        "bytes_array": np.array([b"a", b"bc"]),
        "days": times.astype("datetime64[D]"),
        "seconds": times.astype("datetime64[s]"),
        "microseconds": times.astype("datetime64[us]"),
        "nanoseconds": times.astype("datetime64[ns]"),
        "frame": frame,
        "empty_frame": frame[:0],
        "category_frame": pd.DataFrame({"c": pd.Categorical(["x", "y"])}),
        "int_columns": pd.DataFrame([[1, 2.5], [3, 4.5]]),
        "series": pd.Series([1, 2], name="s"),
        "unnamed_series": pd.Series([1.5, np.nan]),
        "date_series": pd.Series(pd.to_datetime(["2020-01-01"])),
        "list": [1, 2.5, "a", None, True],
        "tuple": (1, 2),
        "text": "text",
        "number": 5,
        "float": 1e300,
        "nan": float("nan"),
        "none": None,
        "large_int": 2**70,
        "negative": -(2**63),
        "numpy_scalar": np.float32(0.1),
        "numpy_int": np.int64(7),
        "dict_of_arrays": {"a": np.array([1, 2]), "b": np.array([0.5, np.nan])},
        "list_of_arrays": [np.array([1]), np.array([2, 3])],
        "list_of_numpy": [np.int32(1), np.float32(1.5), np.bool_(True), np.str_("s")],
        "nested": {"a": [{"b": np.array([1]), "c": (1, [2, {"d": np.float64(2.5)}])}]},
        "int_keys": {1: "a", 2: "b"},
        "date": datetime.date(2020, 1, 2),
        "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        "aware": datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
        "time": datetime.time(1, 2, 3),
        "timestamp": pd.Timestamp("2020-01-02T03:04:05.000000006"),
        "datetime64": [np.datetime64("2020-01-02")],
        "bytes": b"abc",
        "long_bytes": bytes(range(100)),
        "bytearray": bytearray(b"abc"),
        "list_of_dates": [datetime.date(2020, 1, 2)],
        "unicode": "ä\u2028\ud83d\ude00",
        "deep": _deep(50),
    }


def more_answers():
    """Values that MLflow's server answers with 500, or not at all as JSON."""
    import scipy.sparse

    return {
        "sparse": scipy.sparse.csr_matrix([[0, 1], [2, 0]]),
        "frame_in_dict": {"f": pd.DataFrame({"a": [1]})},
        "series_in_dict": {"s": pd.Series([1, 2])},
        "missing_time": pd.DataFrame({"t": [pd.NaT, pd.Timestamp("2020-01-01")]}),
        "missing_na": pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}),
        "decimal": decimal.Decimal("1.5"),
        "set": {1},
        "object": object(),
    }


def _deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


class AnswerKinds(mlflow.pyfunc.PythonModel):
    """Answers with the value whose name was sent; "raise ..." raises."""

    def predict(self, context, model_input, params=None):
        name = model_input["kind"]
        name = name if isinstance(name, str) else str(np.asarray(name).ravel()[0])
        if name == "raise ValueError":
            raise ValueError("a problem of the model")
        if name == "raise MlflowException":
            raise mlflow.exceptions.MlflowException("not there", error_code=5000)
        if name == "raise not found":
            raise mlflow.exceptions.MlflowException.invalid_parameter_value("bad parameter")
        if name == "exit":
            raise SystemExit(3)
        return {**answers(), **more_answers()}[name]
