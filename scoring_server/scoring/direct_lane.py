"""The direct lane: predictions from arrays, as long as they are proved to be those from tables.

Where the model's flavor gives a way to predict from an array (`model.direct`), requests take it
once both ways have given the same answers, bit for bit, for requests of about their size; some go
both ways for ever. One difference, and the lane is closed for good, in all workers.
"""

from __future__ import annotations

import logging
import mmap
import random
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import pandas as pd

from ..model.direct import DirectCall, NotDirect
from ..signature.number_rows import NumberRows
from .equality import difference

logger = logging.getLogger(__name__)

AUTO, ON, OFF = "auto", "on", "off"
# Equal answers that open the lane for some number of rows. Libraries take other paths for other
# numbers (matrix or vector, several threads), so that each power of two has proofs of its own.
PROOFS = 8
# Values of the largest request on it. A proof takes a copy of them, and has to leave a request of
# millions the memory that it needs; what a table costs beside these hardly counts.
MOST_VALUES = 1 << 20
# Of the requests on an open lane, the share that goes both ways.
SAMPLED = 1 / 256
_STATES = (None, "proving", "open", "closed")


class LaneState:
    """What all processes of a server know of the lane: they share this memory.

    Make it before the fork.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    @property
    def name(self) -> Optional[str]:
        """One of "proving", "open" and "closed"; None where the model has no lane."""
        return _STATES[self._memory[0]]

    @property
    def is_closed(self) -> bool:
        """Whether a difference has been found, by whichever process."""
        return self._memory[0] == _STATES.index("closed")

    def become(self, name: str) -> None:
        """Note how it stands; what is closed stays so."""
        if not self.is_closed:
            self._memory[0] = _STATES.index(name)


class _Outcome(NamedTuple):
    answer: Any = None
    error: Optional[BaseException] = None


class DirectLane:
    """Answers from arrays where that is proved, else from tables.

    `went_both_ways` says whether the last prediction did, and took the time of both.

    :param direct: predicts from an array.
    :param ordinary: predicts from a table.
    :param names: the columns of both.
    """

    def __init__(
        self,
        direct: DirectCall,
        ordinary: Callable[[pd.DataFrame], Any],
        names: Sequence[str],
        state: LaneState,
    ) -> None:
        self._direct = direct
        self._ordinary = ordinary
        self._names = names
        self._state = state
        self._missing: Dict[int, int] = {}
        self._random = random.Random().random
        self.went_both_ways = False
        state.become("proving")

    def rows(self, data: Any) -> Optional[NumberRows]:
        """The data as rows for `predict`; None where it has to go the ordinary way."""
        if isinstance(data, NumberRows):
            return data
        if isinstance(data, pd.DataFrame) and not self._state.is_closed:
            return NumberRows.of_frame(data, self._names)
        return None

    def predict(self, rows: NumberRows) -> Any:
        """The model's answer; raises what the model raises for the table."""
        self.went_both_ways = False
        if self._state.is_closed or len(rows) * len(self._names) > MOST_VALUES:
            return self._ordinary(rows.frame())
        size = len(rows).bit_length()
        if self._missing.get(size, PROOFS) or self._random() < SAMPLED:
            return self._prove(rows, size)
        try:
            return self._direct(rows.values)
        except MemoryError:
            raise
        except NotDirect:
            return self._ordinary(rows.frame())
        # What is wrong is said as the ordinary way says it.
        except (Exception, SystemExit):  # noqa: BLE001
            return self._prove(rows, size)

    def _prove(self, rows: NumberRows, size: int) -> Any:
        """Go both ways, and answer as the ordinary one does."""
        self.went_both_ways = True
        # Of its own: a model may write into what it is given.
        expected = _outcome(self._ordinary, rows.copy().frame())
        got = _outcome(self._direct, rows.values)
        found = None if isinstance(got.error, NotDirect) else _difference(expected, got)
        if found is not None:
            self._close(found, len(rows))
        elif expected.error is None and got.error is None:
            missing = self._missing.get(size, PROOFS)
            self._missing[size] = max(0, missing - 1)
            if missing == 1:
                self._state.become("open")
        if expected.error is not None:
            raise expected.error
        return expected.answer

    def _close(self, found: str, rows: int) -> None:
        if not self._state.is_closed:
            self._state.become("closed")
            logger.warning(
                "The direct lane is closed: for %d rows the model answered an array otherwise than"
                " a table: %s. All are answered from tables; --direct-lane off says so from the"
                " start.",
                rows,
                found,
            )


def _outcome(predict: Callable[[Any], Any], data: Any) -> _Outcome:
    try:
        return _Outcome(predict(data))
    except MemoryError:
        raise
    # Compared, and raised by who asked for it.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return _Outcome(error=error)


def _difference(expected: _Outcome, got: _Outcome) -> Optional[str]:
    if expected.error is None and got.error is None:
        return difference(expected.answer, got.answer)
    if type(expected.error) is type(got.error):
        return None
    return "{} in place of {}".format(_name(got), _name(expected))


def _name(outcome: _Outcome) -> str:
    return "an answer" if outcome.error is None else type(outcome.error).__name__
