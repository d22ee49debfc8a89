"""Two answers of a model are the same to the last bit, or something is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from scoring_server.scoring.equality import difference

NEAR = 1 + 1e-12
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})


@pytest.mark.parametrize(
    "answer",
    [
        1, 1.5, float("nan"), "a", None, True, b"a", [1, [2.5, "a"]], (1, 2), {"a": [1], "b": None},
        np.arange(6.0).reshape(2, 3), np.array([np.nan, 1.0]), np.array(["a", None], object),
        np.float32(2), np.array(["a", "bc"]), np.array(["2020-01-01"], "M8[ns]"),
        FRAME, FRAME["b"], FRAME.astype({"a": "Int64"}), pd.Timestamp("2020-01-01"), [],
        np.empty((0, 3)), pd.DataFrame(),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_is_itself(answer: Any) -> None:
    other = answer.copy() if hasattr(answer, "copy") else answer
    assert difference(answer, other) is None


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1, 1.0), (1, True), (0.0, -0.0), (1.0, NEAR), ("a", "b"), ([1], (1,)), ([1, 2], [1]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": 2}), (1.0, np.float64(1)),
        (np.array([1, 2]), np.array([1, 3])), (np.array([1.0]), np.array([NEAR])),
        (np.array([0.0]), np.array([-0.0])), (np.array([1.0]), np.array([np.nan])),
        (np.array([1.0]), np.array([[1.0]])), (np.array([1.0]), np.array([1.0], "f4")),
        (np.array([1, "a"], object), np.array([1.0, "a"], object)),
        (FRAME, FRAME.rename(columns={"a": "c"})), (FRAME, FRAME.set_index(pd.Index([1, 2]))),
        (FRAME, FRAME.astype({"a": "f4"})), (FRAME, FRAME.assign(a=[1.0, NEAR * 2])),
        (FRAME["a"], FRAME["a"].rename("c")), (FRAME["b"], FRAME["b"].replace("y", "z")),
        (FRAME.astype({"a": "Int64"}), FRAME.assign(a=[1, 3]).astype({"a": "Int64"})),
    ],
    ids=str,
)  # fmt: skip
def test_what_differs_is_said(expected: Any, got: Any) -> None:
    assert difference(expected, got)


def test_what_is_not_known_is_not_the_same() -> None:
    answer = object()
    assert "cannot be compared" in str(difference(answer, answer))


def test_how_far_numbers_are_apart_is_said() -> None:
    assert difference(np.array([1.0, 2.0]), np.array([1.0, 2.5])) == "numbers differ by up to 0.5"


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1.0, NEAR), (np.array([1e6, np.nan]), np.array([1e6 * NEAR, np.nan])), ([1.0], [NEAR]),
        (FRAME, FRAME.assign(a=[NEAR, 2.0])), (np.array([np.inf, 1.0]), np.array([np.inf, NEAR])),
    ],
    ids=str,
)  # fmt: skip
def test_numbers_may_be_near_where_that_is_said(expected: Any, got: Any) -> None:
    assert difference(expected, got)
    assert difference(expected, got, 1e-11) is None
    assert difference(expected, got, 1e-13)


@pytest.mark.parametrize("got", [np.array([np.nan]), np.array([np.inf]), np.array([1.1])])
def test_what_is_far_is_not_near(got: np.ndarray) -> None:
    assert difference(np.array([1.0]), got, 1e-3)
