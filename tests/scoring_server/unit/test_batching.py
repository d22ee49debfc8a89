"""Requests that share a prediction get the answers that each would get alone."""

from __future__ import annotations

import json
import random

import pytest

from scoring_server.model.loading import load_model
from scoring_server.scoring.application import Application
from scoring_server.service import Batching

# Counts its calls; `kind` says what it answers with. Rows are refused whose first value is -1.
ROW_WISE = """
    import numpy as np
    import pandas as pd

    class Model:
        calls = 0
        kind = "array"

        def predict(self, model_input, params=None):
            Model.calls += 1
            if isinstance(model_input, dict):
                table = np.column_stack([model_input[name] for name in sorted(model_input)])
            elif isinstance(model_input, np.ndarray):
                table = model_input.reshape(len(model_input), -1)
            else:
                table = model_input.to_numpy()
            if (table[:, 0] == -1).any():
                raise ValueError("a row that begins with -1")
            first = table[:, 0] * (params or {}).get("factor", 1)
            words = ["row {}".format(value) for value in first.tolist()]
            return {
                "array": first,
                "matrix": table,
                "words": np.array(words),
                "list": words,
                "frame": pd.DataFrame({"first": first, "word": words}),
                "series": pd.Series(first, name="first"),
                "dict": {"first": first, "table": table},
                "sum": first.sum(),
                "total": [float(first.sum())],
            }[Model.kind]
"""
COLUMNS = [{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
PARAMS = [{"type": "double", "name": "factor", "default": 1.0, "shape": None}]
KINDS = ["array", "matrix", "words", "list", "frame", "series", "dict"]
SHAPES = {"no signature": None, "columns": COLUMNS, "tensor": TENSOR}


def make(models, inputs, kind, max_rows=1000):
    server = {"max_batch_rows": max_rows}
    config = models.config(ROW_WISE, inputs, PARAMS if inputs else None, server=server)
    model = load_model(config)
    type(model.implementation).kind = kind
    application = Application(config, model, Batching.of(config.server))
    assert application.can_batch
    return application, type(model.implementation)


def a_body(chance, inputs):
    """A body and its content type: several formats, some that cannot be answered."""
    rows = [
        [chance.choice([0.0, 1.5, 7.0, -2.0]), float(chance.randint(0, 9))]
        for _ in range(chance.randint(1, 5))
    ]
    if chance.random() < 0.1:
        rows[-1][0] = -1.0
    if chance.random() < 0.05:
        return b"{", "application/json"
    if chance.random() < 0.1:
        return "\n".join(["a,b", *(",".join(map(str, row)) for row in rows)]).encode(), "text/csv"
    more = {"params": {"factor": chance.choice([1, 2])}} if chance.random() < 0.3 else {}
    if inputs is TENSOR:
        document = {"inputs": rows}
    elif chance.random() < 0.2:
        document = {"dataframe_records": [dict(zip("ab", row)) for row in rows]}
    elif chance.random() < 0.2:
        split = {"columns": ["a", "b"], "data": rows, "index": list(range(3, 3 + len(rows)))}
        document = {"dataframe_split": split}
    else:
        document = {"dataframe_split": {"columns": ["a", "b"], "data": rows}}
    return json.dumps(dict(document, **more)).encode(), "application/json"


def comparable(answer):
    return answer._replace(stages=())


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_that_each_request_gets_alone(models, shape, kind):
    inputs = SHAPES[shape]
    application, model = make(models, inputs, kind, max_rows=20)
    chance = random.Random(kind + shape)
    together = single = 0
    for _ in range(8):
        bodies = [a_body(chance, inputs) for _ in range(chance.randint(1, 12))]
        requests = [models.invocation(*each) for each in bodies]
        before = model.calls
        answers = models.together(application, requests)
        together += model.calls - before
        before = model.calls
        wanted = [application.answer(each) for each in requests]
        single += model.calls - before
        assert list(map(comparable, answers)) == list(map(comparable, wanted))
    # It would hold as well if nothing were ever predicted together.
    assert together < single


def test_one_prediction_for_all_that_fit(models):
    application, model = make(models, COLUMNS, "array", max_rows=10)
    body = json.dumps({"dataframe_records": [{"a": 1.0, "b": 2.0}] * 3}).encode()
    models.together(application, [models.invocation(body)] * 3)
    assert model.calls == 1
    # Nine rows are in, three more would be too many.
    models.together(application, [models.invocation(body)] * 4)
    assert model.calls == 3


def test_a_request_with_more_rows_than_a_batch_is_answered(models):
    application, _ = make(models, COLUMNS, "array", max_rows=2)
    body = json.dumps({"dataframe_records": [{"a": 1.0, "b": 2.0}] * 5}).encode()
    outcomes = models.together(application, [models.invocation(body)] * 2)
    assert [json.loads(each.body) for each in outcomes] == [{"predictions": [1.0] * 5}] * 2


def test_other_columns_or_params_are_not_stacked(models):
    application, model = make(models, None, "array")
    bodies = [
        {"dataframe_records": [{"a": 1.0}]},
        {"dataframe_records": [{"b": 1.0}]},
        {"dataframe_records": [{"a": 1}]},
        {"dataframe_records": [{"a": 1.0, "b": 1.0}]},
    ]
    models.together(application, [models.invocation(json.dumps(each).encode()) for each in bodies])
    assert model.calls == 4
    application, model = make(models, COLUMNS, "array")
    bodies = [
        {"dataframe_records": [{"a": 1.0, "b": 2.0}], "params": {"factor": factor}}
        for factor in (1, 2, 1)
    ]
    models.together(application, [models.invocation(json.dumps(each).encode()) for each in bodies])
    assert model.calls == 2


@pytest.mark.parametrize("kind", ["sum", "total"])
def test_answers_that_are_not_row_wise_switch_batching_off(models, kind, caplog):
    application, model = make(models, COLUMNS, kind)
    body = json.dumps({"dataframe_records": [{"a": 1.5, "b": 2.0}]}).encode()
    requests = [models.invocation(body)] * 3
    wanted = [comparable(application.answer(each)) for each in requests]
    assert list(map(comparable, models.together(application, requests))) == wanted
    assert "Batching is off" in caplog.text
    before = model.calls
    assert list(map(comparable, models.together(application, requests))) == wanted
    assert model.calls == before + 3


def test_what_cannot_be_read_is_answered_beside_the_others(models):
    application, _ = make(models, COLUMNS, "array")
    good = json.dumps({"dataframe_records": [{"a": 1.5, "b": 2.0}]}).encode()
    bad = json.dumps({"dataframe_records": [{"a": -1.0, "b": 2.0}]}).encode()
    requests = [models.invocation(good), models.invocation(bad), models.invocation(good, None)]
    answers = models.together(application, requests)
    assert [answer.status for answer in answers] == [200, 400, 415]
    alone = [comparable(application.answer(each)) for each in requests]
    assert list(map(comparable, answers)) == alone


def test_each_request_of_a_batch_has_its_own_stages(models):
    application, _ = make(models, COLUMNS, "array")
    body = json.dumps({"dataframe_records": [{"a": 1.5, "b": 2.0}]}).encode()
    answers = models.together(application, [models.invocation(body)] * 3)
    for answer in answers:
        assert [stage for stage, _, _ in answer.stages] == ["parse", "predict", "encode"]
    # They were in one prediction.
    assert (
        len({{name: took for name, took, _ in answer.stages}["predict"] for answer in answers}) == 1
    )


def test_batching_is_off_unless_asked_for(models):
    assert not models.application(ROW_WISE, COLUMNS).can_batch
