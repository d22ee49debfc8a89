"""How many rows of waiting requests one prediction should have, from how long predictions take."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

# Rows of one prediction, whatever is measured.
MOST_ROWS = 1 << 14
# A stack takes this share at most of what its requests take one after the other.
_GAIN = 0.9
# What counts for the means: about so many of the last measurements.
_MEMORY = 100
# A measurement that is so many times the mean tells of the machine, not of the model.
_OUTLIER = 3.0
# Stacks whose rows vary less than this (squared) say nothing of what a row takes.
_LEAST_VARIANCE = 1.0


class _Measured:
    """Moving means of rows and of seconds, and how the one goes with the other."""

    def __init__(self) -> None:
        self.count = 0
        self.rows = self.seconds = 0.0
        self.variance = self.covariance = 0.0

    def note(self, rows: int, seconds: float) -> None:
        if self.count > 3:
            seconds = min(seconds, _OUTLIER * self.seconds)
        self.count = min(self.count + 1, _MEMORY)
        share = 1 / self.count
        off_rows, off_seconds = rows - self.rows, seconds - self.seconds
        self.rows += share * off_rows
        self.seconds += share * off_seconds
        self.variance += share * ((1 - share) * off_rows * off_rows - self.variance)
        self.covariance += share * ((1 - share) * off_rows * off_seconds - self.covariance)


class _Costs(NamedTuple):
    """Seconds of a prediction: `each` a row, beside those of a single one or of a stack."""

    single: float
    stack: float
    each: float


class BatchTimes:
    """What single predictions and stacks take, as it was measured."""

    def __init__(self) -> None:
        self._single, self._stacked = _Measured(), _Measured()

    def note(self, requests: int, rows: int, seconds: float) -> None:
        """Count a prediction of so many requests."""
        (self._single if requests == 1 else self._stacked).note(rows, seconds)

    def forget_stacks(self) -> None:
        """Measure them anew."""
        self._stacked = _Measured()

    def _costs(self) -> Optional[_Costs]:
        single, stacked = self._single, self._stacked
        if not single.count or not stacked.count:
            return None
        if stacked.variance >= _LEAST_VARIANCE:
            each = stacked.covariance / stacked.variance
        elif abs(stacked.rows - single.rows) >= 1:
            each = (stacked.seconds - single.seconds) / (stacked.rows - single.rows)
        else:
            return None
        each = max(0.0, min(each, stacked.seconds / stacked.rows))
        of_one = max(0.0, single.seconds - each * single.rows)
        return _Costs(of_one, stacked.seconds - each * stacked.rows, each)

    def most_rows(self, first: int, second: int) -> int:
        """How many rows are predicted by the time that the second request would have its answer.

        With no more of them in a stack, all but the first have theirs no later than one after the
        other, and the first one prediction later at most; and more would gain little, since most of
        the time would be that of the rows.

        :param first: the rows of the first request.
        :param second: those of the second.
        """
        costs = self._costs()
        if costs is None or not costs.each:
            return MOST_ROWS
        most = first + second + (2 * costs.single - costs.stack) / costs.each
        return int(max(0, min(MOST_ROWS, most)))

    def gains(self, rows: Sequence[int]) -> bool:
        """Whether requests of so many rows take less time together; yes, until that is known."""
        costs = self._costs()
        if costs is None:
            return True
        of_rows = costs.each * sum(rows)
        return costs.stack + of_rows <= _GAIN * (costs.single * len(rows) + of_rows)
