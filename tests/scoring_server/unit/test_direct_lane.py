"""The direct lane answers what the ordinary way answers, or closes itself."""

from __future__ import annotations

import json
import random
import textwrap

import numpy as np
import pandas as pd
import pytest

from scoring_server.model.direct import direct_call
from scoring_server.model.loading import LoadedModel, load_model
from scoring_server.protocols.open_inference.protocol import OpenInferenceProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from scoring_server.scoring.direct_lane import MOST_VALUES, PROOFS, DirectLane, LaneState
from scoring_server.service import Batching
from scoring_server.signature.number_rows import NumberRows

DOUBLES = [{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]
MIXED = [
    {"type": "double", "name": "a"}, {"type": "long", "name": "b"},
    {"type": "integer", "name": "c"}, {"type": "float", "name": "d"},
]  # fmt: skip
PARAMS = [{"type": "double", "name": "factor", "default": 1.0, "shape": None}]

# What libraries do: an array of whatever is given, and the answer from that. It notes what it got.
ESTIMATOR = """
    import numpy as np

    class Model:
        got = []

        def get_params(self, deep=True):
            return {}

        def predict(self, data):
            Model.got.append(type(data).__name__)
            values = np.asarray(data)
            Model.last = values
            return self.answer(data, values)

        def answer(self, data, values):
            return values @ np.arange(1.0, 1 + values.shape[1])
"""


def estimator(answer):
    """An estimator whose answer is what the lines of `answer` return."""
    head = ESTIMATOR.rsplit("\n", 2)[0]
    return head + "\n" + textwrap.indent(textwrap.dedent(answer).strip("\n"), " " * 12) + "\n"


def make(models, code=ESTIMATOR, inputs=None, params=None, setting="on", **server):
    config = models.config(
        code, inputs or DOUBLES, params, server={"direct_lane": setting, **server}
    )
    model = load_model(config)
    type(model.implementation).got = []
    return Application(config, model, Batching.of(config.server)), type(model.implementation)


def split(rows, names="ab"):
    return json.dumps({"dataframe_split": {"columns": list(names), "data": rows}}).encode()


class Score:
    """Asks an application, and reads its answer."""

    def __init__(self, models):
        self._invocation = models.invocation

    def __call__(self, application, body, content_type="application/json", status=200):
        answer = application.answer(self._invocation(body, content_type))
        assert answer.status == status, answer.body
        return json.loads(answer.body)


@pytest.fixture
def score(models):
    return Score(models)


def state(application):
    return application.scorer.lane and application.scorer.lane._state.name


def test_the_lane_answers_once_both_ways_have_agreed(models, score):
    application, model = make(models)
    for number in range(PROOFS):
        assert state(application) == "proving"
        assert score(application, split([[1, 2], [number, 0]])) == {"predictions": [5.0, number]}
    assert model.got == ["DataFrame", "ndarray"] * PROOFS
    assert state(application) == "open"
    model.got.clear()
    application.scorer.lane._random = lambda: 1.0
    assert score(application, split([[1, 2], [3, 4]])) == {"predictions": [5.0, 11.0]}
    assert model.got == ["ndarray"]


def test_each_size_has_proofs_of_its_own(models, score):
    application, model = make(models)
    application.scorer.lane._random = lambda: 1.0
    for _ in range(PROOFS):
        score(application, split([[1, 2]]))
    model.got.clear()
    score(application, split([[1, 2]]))
    score(application, split([[1, 2]] * 2))
    assert model.got == ["ndarray", "DataFrame", "ndarray"]


def test_an_open_lane_is_proved_now_and_then(models, score):
    application, model = make(models)
    application.scorer.lane._random = random.Random(7).random
    for _ in range(PROOFS + 2000):
        score(application, split([[1, 2]]))
    proved = model.got.count("DataFrame") - PROOFS
    assert 2 <= proved <= 25


# Not functions of the values alone; each would answer something else from an array.
OTHERS = {
    "names": """
        return values.sum(axis=1) + hasattr(data, "columns")""",
    "by name": """
        return data["a"].to_numpy()""",
    "time": """
        import time
        return values.sum(axis=1) + time.perf_counter()""",
    "calls": """
        return values.sum(axis=1) + len(Model.got)""",
    "chance": """
        import random
        return values.sum(axis=1) + random.random()""",
    "bits": """
        return values.sum(axis=1) * (1 if hasattr(data, "columns") else 1 + 2**-52)""",
    "kind": """
        return values.sum(axis=1).astype("f4" if hasattr(data, "columns") else "f8")""",
    "type": """
        return data.sum(axis=1)""",
    "shape": """
        found = values.sum(axis=1)
        return found if hasattr(data, "columns") else found[:, None]""",
    "error": """
        raise (KeyError if hasattr(data, "columns") else ValueError)("no")""",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_is_no_function_of_the_values_closes_the_lane(models, score, name, caplog):
    code = estimator(OTHERS[name])
    application, model = make(models, code)
    status = 400 if name == "error" else 200
    score(application, split([[1, 2], [3, 4]]), status=status)
    assert state(application) == "closed"
    assert "The direct lane is closed: for 2 rows" in caplog.text
    model.got.clear()
    score(application, split([[1, 2], [3, 4]]), status=status)
    assert model.got == ["DataFrame"]
    assert caplog.text.count("The direct lane is closed") == 1


def test_a_difference_that_comes_late_closes_it_for_good(models, score):
    # Another answer than the table's for large numbers only.
    code = estimator("""
        found = values.sum(axis=1)
        return found + (not hasattr(data, "columns") and found.max() > 100)""")
    application, _ = make(models, code)
    lane = application.scorer.lane
    for _ in range(PROOFS):
        score(application, split([[1, 2]]))
    lane._random = lambda: 0.0
    assert score(application, split([[100, 2]])) == {"predictions": [102.0]}
    assert state(application) == "closed"
    lane._random = lambda: 1.0
    assert score(application, split([[100, 2]])) == {"predictions": [102.0]}


def test_what_fails_on_the_lane_is_answered_by_the_ordinary_way(models, score):
    code = estimator("""
        if not hasattr(data, "columns") and values.max() > 100:
            raise ValueError("arrays only")
        return values.sum(axis=1)""")
    application, _ = make(models, code)
    application.scorer.lane._random = lambda: 1.0
    for _ in range(PROOFS):
        score(application, split([[1, 2]]))
    assert score(application, split([[101, 2]])) == {"predictions": [103.0]}
    assert state(application) == "closed"


def test_an_error_of_both_ways_is_told_as_for_tables_and_closes_nothing(models, score):
    code = estimator("""
        if values.max() > 100:
            raise ValueError("a {}".format(type(data).__name__))
        return values.sum(axis=1)""")
    application, _ = make(models, code)
    for _ in range(PROOFS + 1):
        assert "a DataFrame" in score(application, split([[101, 2]]), status=400)["message"]
        score(application, split([[1, 2]]))
    assert state(application) == "open"


def test_a_model_that_writes_into_its_input_is_compared_on_the_same_values():
    def direct(values):
        # pandas 3 hands out what cannot be written to; libraries find ways.
        values.flags.writeable = True
        values *= 2
        return values.sum(axis=1)

    state = LaneState()
    lane = DirectLane(direct, lambda frame: direct(np.asarray(frame)), ["a"], state)
    for _ in range(PROOFS + 1):
        rows = NumberRows(pd.Index(["a"]), np.array([[1.0], [2.0]], order="F"))
        assert lane.predict(rows).tolist() == [2.0, 4.0]
    assert state.name == "open"


@pytest.mark.parametrize("inputs", [DOUBLES, MIXED])
def test_the_array_is_what_libraries_make_of_the_table(models, score, inputs):
    names = [each["name"] for each in inputs]
    application, model = make(models, inputs=inputs)
    application.scorer.lane._random = lambda: 1.0
    rows = [[1.5, 2, 3, 0.5][: len(names)], [-0.0, 2**53 + 1, -7, 1e-40][: len(names)]]
    bodies = [
        (split(rows, names), "application/json"),
        (json.dumps([dict(zip(names, row)) for row in rows]).encode(), "application/json"),
        (json.dumps({"inputs": dict(zip(names, zip(*rows)))}).encode(), "application/json"),
        (pd.DataFrame(rows, columns=names).to_csv(index=False).encode(), "text/csv"),
    ]
    for body, content_type in bodies:
        seen = []
        for _ in range(PROOFS + 1):
            score(application, body, content_type)
            seen.append(model.last)
        assert model.got[-1] == "ndarray"
        table = pd.DataFrame(rows, columns=names)
        numpy = {"double": "f8", "long": "i8", "integer": "i4", "float": "f4"}
        table = table.astype({each["name"]: numpy[each["type"]] for each in inputs})
        assert seen[-1].dtype == np.asarray(table).dtype
        assert seen[-1].tobytes() == np.asarray(table).tobytes()
        assert seen[-1].flags.f_contiguous


def test_binary_tensors_take_it_without_json_and_without_a_table(models, monkeypatch):
    application, model = make(models, inputs=MIXED)
    config = models.config(ESTIMATOR, MIXED)
    protocol = OpenInferenceProtocol(config)
    columns = [
        np.array([1.5, 2.0]),
        np.array([3, 4]),
        np.array([5, 6], "i4"),
        np.array([7, 8], "f4"),
    ]
    kinds = ["FP64", "INT64", "INT32", "FP32"]
    document = {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [2],
             "parameters": {"binary_data_size": column.nbytes}}
            for name, kind, column in zip("abcd", kinds, columns)
        ]
    }  # fmt: skip
    head = json.dumps(document).encode()
    body = head + b"".join(column.tobytes() for column in columns)
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    route = next(each for each in protocol.routes if each.path.endswith("/infer"))
    name = config.model.served_names[0]
    request = Request(protocol, route, "POST", route.path, {"name": name}, "", headers, body)
    for _ in range(PROOFS):
        assert application.answer(request).status == 200
    application.scorer.lane._random = lambda: 1.0
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "__init__", lambda *_, **__: pytest.fail("a table was made"))
        answer = application.answer(request)
    assert answer.status == 200
    assert model.got[-1] == "ndarray"
    assert json.loads(answer.body)["outputs"][0]["data"] == [1.5 + 6 + 15 + 28, 2 + 8 + 18 + 32]


@pytest.mark.parametrize(
    ("code", "inputs", "setting"),
    [
        (ESTIMATOR, DOUBLES, "off"),
        # A class of nobody's knows what it does with names.
        (ESTIMATOR, DOUBLES, "auto"),
        (ESTIMATOR, [*DOUBLES, {"type": "string", "name": "c"}], "on"),
        (ESTIMATOR, [*DOUBLES, {"type": "boolean", "name": "c"}], "on"),
        (ESTIMATOR, [{"type": "double"}, {"type": "double"}], "on"),
        (ESTIMATOR.replace("got = []", "got = []\n        feature_names_in_ = ['b', 'a']"), DOUBLES, "on"),
        (ESTIMATOR.replace("get_params", "parameters"), DOUBLES, "on"),
    ],
    ids=["off", "unknown", "text", "truth", "unnamed", "other names", "no estimator"],
)  # fmt: skip
def test_others_have_no_lane(models, score, code, inputs, setting):
    application, model = make(models, code, inputs, setting=setting)
    assert application.scorer.lane is None
    row = {each.get("name", place): 1 for place, each in enumerate(inputs)}
    row = {name: {"string": "x", "boolean": True}.get(kind, 1.0) for (name, _), kind in
           zip(row.items(), [each["type"] for each in inputs])}  # fmt: skip
    body = json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}})
    application.answer(models.invocation(body.encode()))
    assert model.got == ["DataFrame"]


def test_requests_with_params_go_the_ordinary_way(models, score):
    code = ESTIMATOR.replace("def predict(self, data)", "def predict(self, data, params=None)")
    application, model = make(models, code, params=PARAMS)
    for _ in range(PROOFS + 1):
        score(application, split([[1, 2]]))
    assert set(model.got) == {"DataFrame"}


def test_stacks_take_it_too(models, score):
    application, model = make(models, max_batch_rows=100)
    application.scorer.lane._random = lambda: 1.0
    requests = [models.invocation(split([[number, 1]] * 2)) for number in range(5)]
    for _ in range(PROOFS + 1):
        model.got.clear()
        answers = models.together(application, requests)
        for number, answer in enumerate(answers):
            assert json.loads(answer.body) == {"predictions": [number + 2.0] * 2}
    assert model.got == ["ndarray"]
    assert model.last.shape == (10, 2)


def test_a_lane_that_one_process_has_closed_is_closed_for_all():
    state = LaneState()
    direct, ordinary = (
        (lambda values: values.sum(axis=1)),
        (lambda table: table.sum(axis=1).to_numpy()),
    )
    lanes = [DirectLane(direct, ordinary, ["a"], state) for _ in range(2)]
    wrong = DirectLane(lambda _values: None, ordinary, ["a"], state)
    rows = NumberRows(pd.Index(["a"]), np.array([[1.0]], order="F"))
    for lane in lanes:
        for _ in range(PROOFS):
            lane.predict(rows)
    assert state.name == "open"
    wrong.predict(rows)
    assert state.name == "closed"
    lanes[0]._direct = lambda _values: pytest.fail("it is closed")
    assert lanes[0].predict(rows) == [1.0]
    lanes[1]._state.become("open")
    assert state.name == "closed"


class Known:
    __module__ = "sklearn.made.up"

    def __init__(self, **params):
        self.params = params

    def get_params(self, deep=True):
        return self.params

    def predict(self, data):
        return data


class Mine(Known):
    __module__ = "my.own"


class ColumnTransformer(Known):
    __module__ = "sklearn.compose"


@pytest.mark.parametrize(
    ("estimator", "is_direct"),
    [
        (Known(), True), (Known(a=1, b="x", c=None, d=np.log1p, e=[Known()], f=np.nan), True),
        (Mine(), False), (Known(step=Mine()), False), (Known(steps=[("a", Mine())]), False),
        (Known(func=lambda x: x), False), (Known(step=ColumnTransformer()), False),
    ],
)  # fmt: skip
def test_estimators_of_known_packages_have_one_by_themselves(estimator, is_direct):
    model = LoadedModel(estimator, estimator.predict)
    assert (direct_call(model, ["a"], trust=False) is not None) == is_direct
    assert direct_call(model, ["a"], trust=True) is not None


def test_it_tells_when_it_took_the_time_of_both_ways(models, score):
    application, _ = make(models)
    lane = application.scorer.lane
    lane._random = lambda: 1.0
    for _ in range(PROOFS):
        score(application, split([[1, 2]]))
        assert lane.went_both_ways
    score(application, split([[1, 2]]))
    assert not lane.went_both_ways


def test_millions_of_values_go_the_ordinary_way():
    state, columns = LaneState(), list(map(str, range(64)))
    lane = DirectLane(
        lambda _values: pytest.fail("not these"), lambda table: len(table), columns, state
    )
    values = np.zeros((MOST_VALUES // 64 + 1, 64), order="F")
    assert lane.predict(NumberRows(pd.Index(columns), values)) == len(values)
    assert state.name == "proving"


def test_a_model_that_streams_has_no_lane(models):
    code = (
        ESTIMATOR
        + """
        def predict_stream(self, data):
            yield data
    """
    )
    config = models.config(code, DOUBLES, server={"direct_lane": "on"}, flavor={"streamable": True})
    application = Application(config, load_model(config))
    assert application.scorer.can_stream
    assert application.scorer.lane is None
