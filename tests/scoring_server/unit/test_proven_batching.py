"""Batching that proves itself: nobody gets rows of a stack that are not those of a prediction alone."""

from __future__ import annotations

import json
import random

import pytest

from scoring_server.errors import ScoringError
from scoring_server.model.loading import load_model
from scoring_server.scoring import proven_batching
from scoring_server.scoring.application import Application
from scoring_server.scoring.batch_times import MOST_ROWS, BatchTimes
from scoring_server.scoring.proven_batching import size_class
from scoring_server.service import Batching, ProofLostError

# Counts its predictions; `answer` is the body of the function of a table's first column.
MODEL = """
    import os, random, time
    import numpy as np
    import pandas as pd

    class Model:
        calls = 0
        error = 0.0
        clock, fixed, each = 0.0, 1.0, 0.001

        def predict(self, model_input, params=None):
            Model.calls += 1
            x = model_input["a"].to_numpy()
            # What it takes, in seconds of a clock of its own.
            Model.clock += Model.fixed + Model.each * len(x)
            {answer}
"""
INPUTS = [{"type": "double", "name": "a"}]
PARAMS = [{"type": "string", "name": "mode", "default": "", "shape": None}]
ROUNDS = 30


class Served:
    """An application of a model, with `auto`."""

    def __init__(self, models, monkeypatch, answer, tolerance=0.0):
        self._models = models
        server = {"max_batch_rows": "auto", "batch_tolerance": tolerance}
        config = models.config(MODEL.format(answer=answer), INPUTS, PARAMS, server=server)
        model = load_model(config)
        self.model = type(model.implementation)
        self.batching = Batching.of(config.server)
        self.application = Application(config, model, self.batching)

        class Clock:
            perf_counter = staticmethod(lambda: self.model.clock)

        monkeypatch.setattr(proven_batching, "time", Clock)

    def body(self, values, mode=""):
        rows = [[value] for value in values]
        document = {"dataframe_split": {"columns": ["a"], "data": rows}}
        if mode:
            document["params"] = {"mode": mode}
        return self._models.invocation(json.dumps(document).encode())

    def ask(self, *inputs, mode=""):
        """The answers to requests that came together."""
        answers = self._models.together(
            self.application, [self.body(values, mode) for values in inputs]
        )
        return [(each.status, json.loads(each.body)) for each in answers]

    def answers(self, most=12, mode=""):
        """Of random requests that came together: what each was asked, and its answer.

        They come until batching has proved itself or has been closed, and for a while after that.
        """
        chance, left = random.Random(7), ROUNDS
        while left:
            left -= self.batching.state != "proving"
            inputs = [
                [chance.choice([0.1, -3.7, 2.0, 1e6 / 3]) for _ in range(chance.randint(1, 3))]
                for _ in range(chance.randint(2, most))
            ]
            yield from zip(inputs, self.ask(*inputs, mode=mode))


@pytest.fixture
def serve(models, monkeypatch):
    """Serve a model."""
    return lambda answer, tolerance=0.0: Served(models, monkeypatch, answer, tolerance)


def predictions(values):
    return 200, {"predictions": values}


def doubled(values):
    return predictions([2 * value for value in values])


def test_it_opens_where_rows_are_those_of_single_predictions(serve):
    served = serve("return 2 * x")
    assert served.batching.state == "proving"
    for values, answer in served.answers():
        assert answer == doubled(values)
    assert served.batching.state == "on"
    # Twelve take one prediction once that size is proven, and perhaps a sample.
    for _ in range(2 * ROUNDS):
        before = served.model.calls
        answers = served.ask(*[[float(n)] for n in range(12)])
        assert answers == [doubled([float(n)]) for n in range(12)]
    assert served.model.calls - before <= 2


def test_until_then_each_is_answered_by_a_prediction_of_its_own(serve):
    served = serve("return np.full(len(x), float(len(x)))")
    while served.batching.state == "proving":
        assert served.ask([0.0], [0.0, 0.0], [0.0]) == [
            predictions([1.0]), predictions([2.0, 2.0]), predictions([1.0]),
        ]  # fmt: skip
    assert served.batching.state == "closed"


@pytest.mark.parametrize(
    ("answer", "alone"),
    [
        ("return x - x.mean()", lambda values: [v - sum(values) / len(values) for v in values]),
        ("return x if len(x) < 40 else x + 1", list),
        ("return list(x) if len(x) < 4 else x", list),
        ("return x if len(x) < 4 else np.append(x, 0)", list),
        ("return x if len(x) < 4 else x.sum()", list),
        ("return x if len(x) < 4 else [][0]", list),
        ("return x if len(x) < 4 else os.abort", list),
        # It may write into what it is given.
        ("y = x.copy(); model_input.loc[:, 'a'] = 0.0; return y - y.mean() * (len(y) > 3)",
         list),
    ],
)  # fmt: skip
def test_nobody_gets_a_row_of_a_model_that_looks_at_its_neighbours(serve, caplog, answer, alone):
    served = serve(answer)
    for values, answered in served.answers(most=30):
        status, body = answered
        assert status == 200
        assert body["predictions"] == pytest.approx(alone(values), abs=1e-9)
    assert served.batching.state == "closed"
    assert caplog.text.count("Batching is off from now on: ") == 1
    before = served.model.calls
    served.ask([1.0], [2.0], [3.0])
    assert served.model.calls == before + 3


@pytest.mark.parametrize(
    "answer", ["return x + random.random()", "return x + time.time()", "return x + Model.calls"]
)
def test_a_model_of_chance_of_time_or_with_a_state_is_closed(serve, answer):
    served = serve(answer)
    for _ in range(ROUNDS):
        served.ask(*[[1.0]] * 4)
    assert served.batching.state == "closed"


def test_a_difference_in_the_last_bits_is_one_unless_it_is_allowed(serve, caplog):
    answer = "return x * (1 + 1e-15 * (len(x) > 3))"
    served = serve(answer)
    list(served.answers())
    assert served.batching.state == "closed"
    assert "numbers differ by up to" in caplog.text
    assert "(it would stay on with --batch-tolerance 1e-1" in caplog.text
    served = serve(answer, tolerance=1e-9)
    for values, (_, body) in served.answers():
        assert body["predictions"] == pytest.approx(values, rel=1e-9)
    assert served.batching.state == "on"
    served = serve("return x * (1 + 1e-6 * (len(x) > 3))", tolerance=1e-9)
    list(served.answers())
    assert served.batching.state == "closed"


def test_texts_are_as_wide_as_they_are_and_tables_begin_at_0(serve):
    for answer in (
        "return np.array(['negative' if v < 0 else 'other' for v in x])",
        "return pd.DataFrame({'doubled': 2 * x, 'text': ['low' if v < 1 else 'high' for v in x]})",
        "return pd.Series(2 * x, name='doubled')",
        "return {'one': x, 'two': 2 * x}",
    ):
        served = serve(answer)
        for values, answered in served.answers(most=4):
            alone = served.application.answer(served.body(values))
            assert answered == (200, json.loads(alone.body))
        assert served.batching.state == "on", answer


def test_a_row_that_the_model_refuses_hurts_nobody_and_closes_nothing(serve):
    answer = "return 2 * x if (x != 9).all() else [][0]"
    served = serve(answer)
    left, at = ROUNDS, 0
    while left:
        # Some of the stacks that are refused come when they are proven.
        left, at = left - (served.batching.state != "proving"), at + 1
        asked = [[1.0], [9.0 if at % 3 == 0 else 3.0], [4.0, 5.0]]
        statuses = [status for status, _ in served.ask(*asked)]
        assert statuses == [200, 400 if at % 3 == 0 else 200, 200]
    assert served.batching.state == "on"


def test_a_lone_request_is_predicted_once(serve):
    served = serve("return 2 * x")
    for _ in range(ROUNDS):
        before = served.model.calls
        assert served.ask([1.0]) == [doubled([1.0])]
        assert served.model.calls == before + 1


def test_other_params_prove_themselves(serve):
    answer = "return x - x.mean() if (params or {}).get('mode') == 'centre' else x"
    served = serve(answer.replace("{}", "dict()"))
    list(served.answers())
    assert served.batching.state == "on"
    while served.batching.state == "on":
        answers = served.ask([1.0, 2.0], [5.0], mode="centre")
        assert answers == [predictions([-0.5, 0.5]), predictions([0.0])]
    assert served.batching.state == "closed"


def test_what_is_open_is_sampled_for_ever(serve):
    served = serve("return x + (len(x) > 3) * Model.error")
    list(served.answers())
    assert served.batching.state == "on"
    served.model.error = 1.0
    for _ in range(100_000):
        served.ask(*[[1.0]] * 8)
        if served.batching.state == "closed":
            return
    raise AssertionError("a stack that had become wrong was never found")


def test_where_batches_gain_nothing_none_are_made_for_a_while(serve):
    served = serve("return x")
    served.model.fixed, served.model.each = 0.0, 1.0

    for _ in range(ROUNDS):
        served.ask(*[[1.0]] * 8)
    assert served.batching.state == "proving"
    assert served.batching.most_together == 1


def test_proofs_take_a_tenth_of_the_time_at_most(serve):
    # Together is as slow as alone for the first rows, and then for nothing.
    served = serve("Model.clock += len(x) > 1; return x")

    before = 0
    for asked in range(1, 20):
        served.ask(*[[1.0]] * 4)
        proofs = served.model.calls - before - 4
        assert proofs in (0, 1)
        before = served.model.calls
        assert served.model.calls - 4 * asked <= 1 + 0.1 * served.model.clock / 2
    assert served.batching.state == "proving"


def test_the_largest_stack_is_done_when_the_second_would_have_had_its_answer():
    times = BatchTimes()
    assert times.most_rows(1, 1) == MOST_ROWS
    assert times.gains([1, 1])
    for _ in range(10):
        times.note(1, 1, 1.001)
        times.note(5, 101, 1.101)
    # 1 s and 1 ms a row: 1002 rows take 2.002 s, as two requests do.
    assert times.most_rows(1, 1) == pytest.approx(1002, abs=1)
    assert times.most_rows(10, 30) == pytest.approx(1040, abs=1)
    assert times.gains([1, 1])
    assert not times.gains([10_000, 10_000])
    # One that the machine was busy with changes little.
    times.note(5, 101, 1000.0)
    assert times.most_rows(1, 1) > 200
    # Rows that cost nothing.
    times = BatchTimes()
    times.note(1, 1, 1.0)
    times.note(4, 4, 0.9)
    assert times.most_rows(1, 1) == MOST_ROWS


def test_sizes_are_proven_apart_where_linear_algebra_takes_other_ways():
    classes = [size_class(rows) for rows in range(1, MOST_ROWS + 1)]
    assert classes[:64] == list(range(1, 65))
    assert classes == sorted(classes)
    assert len(set(classes)) <= 64 + 8 * 8 + 1
    # A stack is not proven by one that has an eighth more rows.
    assert all(size_class(rows * 9 // 8) > size_class(rows) for rows in range(64, 10_000))


def test_the_state_is_shared_and_a_proof_that_ends_its_process_ends_batching(serve):
    served = serve("return x")
    batching = served.batching
    assert batching.most_together == 8
    assert batching.begin_proof()
    # Another one's turn comes when that is over.
    assert not batching.begin_proof()
    batching.end_proof()
    import subprocess
    import sys

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    batching._memory[4:8] = gone.pid.to_bytes(4, "little")
    with pytest.raises(ProofLostError):
        batching.begin_proof()
    served.ask([1.0], [2.0])
    assert batching.state == "closed"
    assert batching.most_together == 1


def test_an_error_of_the_models_is_told_as_alone(serve):
    served = serve("raise ValueError('no')")
    answers = served.ask([1.0], [2.0])
    alone = served.application.answer(served.body([1.0]))
    assert answers == [(alone.status, json.loads(alone.body))] * 2
    assert alone.status == ScoringError("x").status
