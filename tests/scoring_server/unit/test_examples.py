"""Models that want their input in the form of the logged example."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from scoring_server.signature.examples import example_conversion

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
RECORDS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def convert(models, example, frame, info=None, **model):
    model = dict({"type_hint_from_example": True}, **model)
    config = models.config(saved_input_example_info=info, **model).model
    Path(config.path, "input_example.json").write_text(json.dumps(example))
    conversion = example_conversion(config)
    return frame if conversion is None else conversion(frame)


JSON_INFO = {"type": "json_object", "artifact_path": "input_example.json"}


@pytest.mark.parametrize("info", [JSON_INFO, None])
def test_forms(models, info):
    assert convert(models, RECORDS, FRAME, info) == RECORDS
    assert convert(models, {"a": 1, "b": "x"}, FRAME[:1], info) == RECORDS[0]
    assert convert(models, {"a": 1, "b": "x"}, FRAME, info) is FRAME
    assert convert(models, ["u", "v"], FRAME[["b"]], info) == ["x", "y"]
    assert convert(models, "u", FRAME[["b"]], info) == "x"


def test_example_with_params(models):
    document = {"inputs": ["u"], "params": {"p": 1}}
    assert convert(models, document, FRAME[["b"]], dict(JSON_INFO, params="true")) == ["x", "y"]
    assert convert(models, document, FRAME[["b"]]) == ["x", "y"]


def test_tables_stay_tables(models):
    split = {"columns": ["a"], "data": [[1]]}
    assert convert(models, split, FRAME) is FRAME
    assert convert(models, split, FRAME, {"type": "dataframe"}) is FRAME
    assert convert(models, RECORDS, FRAME, type_hint_from_example=False) is FRAME
