"""Which row of a chunk is the one that does not fit: people look for it in files of millions."""

from __future__ import annotations

import io
from typing import Any, Callable, Optional

import pandas as pd

from ..errors import ScoringError
from ..formats.csv_body import cast_csv, read_csv
from ..formats.parsing import ModelInput
from ..scoring.scorer import Scorer
from ..signature.misfits import first_refused, is_refused
from ..signature.plain_rows import Table
from ..signature.signature import Signature

# What a row may be refused with; what else is raised is no matter of rows.
_REFUSALS = (ScoringError, ValueError, TypeError)


def first_refused_row(attempt: Callable[[int, int], Any], rows: int) -> Optional[int]:
    """The first row, from 0, that is refused; None if each is, or none is by itself.

    :param attempt: does with the rows from one up to another what may be refused.
    """
    if rows > 1 and all(
        is_refused(attempt, start, start + 1, _REFUSALS) for start in (0, rows - 1)
    ):
        return None
    return first_refused(attempt, rows, _REFUSALS)


def row_of_signature(scorer: Scorer, data: Any) -> Optional[int]:
    """The first row of a chunk that does not fit the signature."""

    def apply(start: int, stop: int) -> ModelInput:
        return scorer.apply_signature(ModelInput(_part(data, start, stop)))

    if not isinstance(data, (Table, pd.DataFrame)):
        return None
    return first_refused_row(apply, data.rows if isinstance(data, Table) else len(data))


def row_of_csv(texts: pd.DataFrame, signature: Signature) -> Optional[int]:
    """The first row of a chunk of CSV whose texts do not have the signature's types.

    :param texts: the chunk with each value as its text.
    """

    def cast(start: int, stop: int) -> pd.DataFrame:
        lines = io.StringIO(texts.iloc[start:stop].to_csv(index=False))
        return cast_csv(read_csv(lines, signature), signature)

    return first_refused_row(cast, len(texts))


def _part(data: Any, start: int, stop: int) -> Any:
    if isinstance(data, Table):
        columns = [column[start:stop] for column in data.columns]
        return Table(data.names, columns, stop - start)
    return data.iloc[start:stop]
