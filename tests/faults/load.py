"""Clients that ask a served model without a pause, and what became of each request."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable

CLIENTS = 4
# A client gives up after this long, in seconds: more than any fault is held.
PATIENCE = 20.0

Question = tuple[bytes, dict[str, str]]


class Load:
    """Requests one after the other on some connections, from the beginning until `end`.

    `outcomes` counts: `answered` (with what was asked), `wrong` (with anything else), `failed`
    (another status), `refused` (503, or no connection), `lost` (the connection broke, or nothing
    came).

    :param ask: a request's body and headers, given its number.
    :param is_right: whether a body answers that.
    """

    def __init__(
        self,
        port: int,
        ask: Callable[[int], Question] | None = None,
        is_right: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        self._port = port
        self._question = ask or question
        self._is_right = is_right or is_doubled
        self._numbers = itertools.count(1)
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.answered_at: list[float] = []
        self.wrong: list[bytes] = []
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._ended.is_set():
            number = next(self._numbers)
            outcome = self._ask(connection, number)
            with self._changed:
                self.outcomes[outcome] += 1
                if outcome == "answered":
                    self.answered_at.append(time.monotonic())
                self._changed.notify_all()
            if outcome == "refused":
                self._ended.wait(0.02)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> str:
        try:
            connection.request("POST", "/invocations", *self._question(number))
            answer = connection.getresponse()
            body = answer.read()
        except ConnectionRefusedError:
            connection.close()
            return "refused"
        except (OSError, http.client.HTTPException):
            connection.close()
            return "lost"
        if answer.status != 200:
            self.statuses[answer.status] += 1
            return "refused" if answer.status == 503 else "failed"
        if self._is_right(body, number):
            return "answered"
        self.wrong.append(body[:200])
        return "wrong"

    def wait_for_answers(
        self, number: int, within: float, as_long_as: Callable[[], bool] = lambda: True
    ) -> bool:
        """Wait for so many further answers; whether they came within so many seconds.

        :param as_long_as: whether there is any hope of it.
        """
        with self._changed:
            wanted = len(self.answered_at) + number

            def is_decided() -> bool:
                return len(self.answered_at) >= wanted or not as_long_as()

            return self._changed.wait_for(is_decided, within) and len(self.answered_at) >= wanted

    def count_anew(self) -> None:
        """Forget what became of the requests so far."""
        with self._changed:
            self.outcomes.clear()
            self.statuses.clear()

    def end(self) -> None:
        """Send no more; return when the last answer is here."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def longest_gap(self, since: float) -> float:
        """The longest time without an answer until now, in seconds."""
        times = [since, *(each for each in self.answered_at if each >= since), time.monotonic()]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


def question(number: int, seconds: float = 0.0) -> Question:
    """A request's body and headers: the model answers `number` doubled, after so many seconds."""
    body = json.dumps({"dataframe_records": [{"number": number, "seconds": seconds}]}).encode()
    return body, {"Content-Type": "application/json"}


def is_doubled(body: bytes, number: int) -> bool:
    """Whether an answer is the one to this number's question."""
    try:
        (answer,) = json.loads(body)["predictions"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(answer["doubled"] == 2 * number)
