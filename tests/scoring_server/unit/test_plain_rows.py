"""Plain JSON rows, read in one step, against the general way: the same tables or no table."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from scoring_server.config import FlavorTraits
from scoring_server.errors import ScoringError
from scoring_server.formats.parsing import parse_json
from scoring_server.signature.plain_rows import PlainRows
from scoring_server.signature.schema import Schema
from scoring_server.signature.signature import Signature

TYPES = ["double", "float", "long", "integer", "boolean", "string"]
PLAIN = {
    "double": [0.1, -2.5, 3.0, 1e300, 7, 0],
    "float": [0.1, -2.5, 3.0, 7, 2**60 + 1],
    "long": [0, -5, 2**62, 2**53 + 1],
    "integer": [0, -5, 2**31 - 1],
    "boolean": [True, False],
    "string": ["", "a", "1.5", "\u00e4\U0001f600"],
}
ODD = [None, float("nan"), float("inf"), "1.5", "x", True, 2**64, 2**70, -(2**63), 2**31, 1.5, [1]]


def signature(types, plain=True):
    inputs = [{"name": f"c{number}", "type": kind} for number, kind in enumerate(types)]
    made = Signature.from_config(_Model(inputs))
    if not plain:
        made.plain_rows = None
    return made


class _Model:
    is_signature_from_type_hint = False
    traits = FlavorTraits()

    def __init__(self, inputs):
        self.signature = type("Found", (), {"inputs": inputs, "params": None})


def outcome(document, found):
    """The table that reaches the model, or None where the request is refused."""
    try:
        model_input = parse_json(document, found)
        data = model_input.data if model_input.fits else found.enforce(model_input.data)
    except ScoringError:
        return None, False
    return data, model_input.fits


def documents(seed):
    """A signature's types and documents for it: mostly plain, some not."""
    chance = random.Random(seed)
    types = [chance.choice(TYPES) for _ in range(chance.randint(1, 5))]
    if chance.random() < 0.5:
        types = types[:1] * len(types)
    names = [f"c{number}" for number in range(len(types))]
    rows = [[chance.choice(PLAIN[kind]) for kind in types] for _ in range(chance.randint(0, 4))]
    if rows and chance.random() < 0.5:
        chance.choice(rows)[chance.randrange(len(types))] = chance.choice(ODD)
    if chance.random() < 0.3:
        order = list(range(len(types)))
        chance.shuffle(order)
        names = [names[each] for each in order]
        rows = [[row[each] for each in order] for row in rows]
    if chance.random() < 0.3:
        names = [*names, chance.choice(["more", "c0"])]
        rows = [[*row, chance.choice(ODD)] for row in rows]
    if rows and chance.random() < 0.1:
        rows[-1] = rows[-1][:-1]
    split = {"columns": names, "data": rows}
    if chance.random() < 0.1:
        split["index"] = list(range(5, 5 + len(rows)))
    records = [dict(zip(names, row)) for row in rows]
    return types, [{"dataframe_split": split}, {"dataframe_records": records}]


# pandas' own warnings about casting such values are not the subject.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seeds", [range(300), pytest.param(range(300, 1500), marks=pytest.mark.slow)]
)
def test_plain_rows_give_what_the_general_way_gives(seeds):
    taken = 0
    for seed in seeds:
        types, found = documents(seed)
        plain, general = signature(types), signature(types, plain=False)
        for document in found:
            quick, fits = outcome(document, plain)
            wanted, _ = outcome(document, general)
            taken += fits
            assert (quick is None) == (wanted is None), (types, document)
            if wanted is not None:
                pd.testing.assert_frame_equal(quick, wanted, check_exact=True)
    # The comparison would hold as well if nothing were ever read in one step.
    assert taken > len(seeds) / 2


@pytest.mark.parametrize(
    "inputs",
    [
        [{"type": "double"}],
        [{"type": "datetime", "name": "a"}],
        [{"type": "binary", "name": "a"}],
        [{"type": "array", "items": {"type": "long"}, "name": "a"}],
        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}],
    ],
)
def test_other_signatures_have_no_plain_rows(inputs):
    assert PlainRows.for_schema(Schema.from_json(inputs)) is None
