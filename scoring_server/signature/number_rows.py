"""Rows of numbers before anybody makes a table of them."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np
import pandas as pd


class NumberRows:
    """Rows for a signature whose columns are all numbers.

    `values` is the array that libraries make of the table, as `numpy.asarray` does: of the type
    that all columns fit in, column after column in memory. `frame` is the table.

    :param columns: the columns' names.
    :param values: the array, of shape (rows, columns), where all columns have its type.
    :param arrays: otherwise an array for each column.
    :param frame: the table, where it is there already.
    """

    __slots__ = ("_arrays", "_frame", "_values", "columns")

    def __init__(
        self,
        columns: pd.Index,
        values: Optional[np.ndarray] = None,
        arrays: Optional[Sequence[np.ndarray]] = None,
        frame: Optional[pd.DataFrame] = None,
    ) -> None:
        self.columns = columns
        self._values: Any = values
        self._arrays: Any = arrays
        self._frame: Any = frame

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, names: Sequence[str]) -> Optional[NumberRows]:
        """Those of a table; None where it has other columns, other types, or an index of its own.

        :param names: the columns that it must have.
        """
        if not len(frame) or not is_numbered(frame.index):
            return None
        if len(frame.columns) != len(names) or list(frame.columns) != list(names):
            return None
        if not all(isinstance(each, np.dtype) and each.kind in "fi" for each in frame.dtypes):
            return None
        return cls(frame.columns, frame=frame)

    @classmethod
    def stacked(cls, parts: Sequence[NumberRows]) -> NumberRows:
        """The rows of several that have the same columns of the same types, in their order."""
        names = parts[0].columns
        if all(each._arrays is not None for each in parts):
            columns: Any = zip(*(each._arrays for each in parts))
            return cls(names, arrays=list(map(np.concatenate, columns)))
        # Those of one type may have come in either form.
        values = np.empty((sum(map(len, parts)), len(names)), parts[0].values.dtype, order="F")
        np.concatenate([each.values for each in parts], out=values)
        return cls(names, values)

    def __len__(self) -> int:
        if self._values is not None:
            return len(self._values)
        return len(self._frame if self._arrays is None else self._arrays[0])

    @property
    def values(self) -> np.ndarray:
        """The array of all columns."""
        if self._values is None:
            if self._arrays is None:
                self._values = self._frame.to_numpy()
            else:
                self._values = _interleaved(self._arrays)
        found: np.ndarray = self._values
        return found

    def frame(self) -> pd.DataFrame:
        """The table; it may share its memory with the array."""
        if self._frame is not None:
            found: pd.DataFrame = self._frame
            return found
        if self._arrays is not None and len({each.dtype for each in self._arrays}) > 1:
            return pd.DataFrame(dict(zip(self.columns, self._arrays)), copy=False)
        return pd.DataFrame(self.values, columns=self.columns, copy=False)

    def copy(self) -> NumberRows:
        """The same in memory of their own."""
        return NumberRows(
            self.columns,
            None if self._values is None else self._values.copy(order="K"),
            None if self._arrays is None else [each.copy() for each in self._arrays],
            None if self._frame is None else self._frame.copy(),
        )


def is_numbered(index: pd.Index) -> bool:
    """Whether the index of some rows has their numbers from 0, as one that nobody has given."""
    return isinstance(index, pd.RangeIndex) and index[0] == 0 and index[-1] < len(index)


def _interleaved(arrays: Sequence[np.ndarray]) -> np.ndarray:
    kinds: Any = {each.dtype for each in arrays}
    values = np.empty((len(arrays[0]), len(arrays)), np.result_type(*kinds), order="F")
    for place, array in enumerate(arrays):
        values[:, place] = array
    return values
