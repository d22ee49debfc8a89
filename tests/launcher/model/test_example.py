"""The curl line that is printed at readiness."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from launcher.model.example import curl_line, example_request
from launcher.model.mlmodel import Model
from launcher.model.requirements import ModelRequirements


def model(inputs: Any = None, example: Any = None) -> Model:
    signature = {"inputs": inputs, "outputs": None, "params": None} if inputs else None
    return Model(
        path=Path("/m"),
        flavors={"python_function": {}},
        requirements=ModelRequirements(None, (), Path("/m")),
        signature=signature,
        example=example,
    )


def test_the_input_example_is_used_and_shortened() -> None:
    split = {"columns": ["it's"], "index": [0, 1, 2], "data": [[1], [2], [3]]}
    line = curl_line(model(example={"dataframe_split": split}), "http://127.0.0.1:1")
    assert line is not None
    words = shlex.split(line)
    assert words[1] == "http://127.0.0.1:1/invocations"
    assert json.loads(words[-1]) == {"dataframe_split": {"columns": ["it's"], "data": [[1], [2]]}}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (
            [{"type": "double", "name": "a"}, {"type": "string", "name": "b"}],
            {"dataframe_split": {"columns": ["a", "b"], "data": [[0.0, "a"]]}},
        ),
        (
            [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}],
            {"inputs": [[0.0, 0.0]]},
        ),
        (
            [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "int64", "shape": [-1]}}],
            {"inputs": {"x": [0]}},
        ),
        (
            [{"type": "array", "name": "a", "items": {"type": "long"}}],
            {"dataframe_split": {"columns": ["a"], "data": [[[0]]]}},
        ),
    ],
)
def test_without_an_example_the_signature_makes_one(inputs: Any, expected: Any) -> None:
    assert example_request(model(inputs)) == expected


def test_nothing_known_gives_no_line() -> None:
    assert curl_line(model(), "http://127.0.0.1:1") is None


def test_an_example_too_long_for_a_command_line_gives_way_to_the_signature() -> None:
    inputs = [{"type": "long", "name": "a"}]
    long = {"dataframe_split": {"columns": ["a"], "data": [["x" * 5000]]}}
    assert example_request(model(inputs, long)) == {
        "dataframe_split": {"columns": ["a"], "data": [[0]]}
    }
