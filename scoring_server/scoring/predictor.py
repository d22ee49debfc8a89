"""The predictor threads of a worker: models are rarely thread-safe, so requests take turns.

A request thread hands its work over and waits for at most `timeout` seconds. Work that has not
begun by then is dropped; work that has cannot be stopped from outside, so `on_stuck` is called
for the process layer to replace the worker.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Any, Callable, Iterator, List, Optional

from ..errors import DEADLINE_EXCEEDED, ScoringError

_END = object()


class _Task:
    """One piece of work: who claims it first may run it (a predictor) or drop it (the request)."""

    __slots__ = ("_token", "done", "error", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Optional[BaseException] = None
        self.done = threading.Lock()
        self.done.acquire()
        self._token = [None]

    def claim(self) -> bool:
        """True for the first caller only; list.pop is atomic."""
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def run(self) -> None:
        try:
            self.result = self.work()
        # Even SystemExit: the thread goes on, the request gets the exception.
        except BaseException as error:  # noqa: BLE001
            self.error = error
        self.done.release()


class Predictor:
    """Runs work on `threads` threads of its own; `timeout` is in seconds, None for no limit.

    With 0 threads the calling thread does the work: a worker that answers one request at a time,
    whose time limits somebody else watches.

    Threads are started on first use, so a predictor made before a fork works after it.
    """

    def __init__(
        self,
        threads: int = 1,
        timeout: Optional[float] = None,
        on_stuck: Optional[Callable[[], None]] = None,
    ) -> None:
        self.threads = threads
        self.timeout = timeout
        self.on_stuck = on_stuck
        self._lock = threading.Lock()
        self._pid: Optional[int] = None
        self._queue: Any = None

    def run(self, work: Callable[[], Any]) -> Any:
        """The result of `work()`, or what it raised; `ScoringError` (504) when time is up."""
        if not self.threads:
            return work()
        task = _Task(work)
        self._tasks().put(task)
        self._wait(task)
        if task.error is not None:
            raise task.error
        return task.result

    def iterate(self, work: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """The items of `work()`, made on a predictor thread; `timeout` counts for each item.

        A consumer that stops early ends the work at its next item.
        """
        if not self.threads:
            yield from work()
            return
        items: Any = queue.SimpleQueue()
        abandoned: List[bool] = []

        def produce() -> None:
            try:
                iterator = work()
                for item in iterator:
                    if abandoned:
                        return
                    items.put((item, None))
            # Handed over to the consumer, which raises it.
            except BaseException as error:  # noqa: BLE001
                items.put((_END, error))
            else:
                items.put((_END, None))

        task = _Task(produce)
        self._tasks().put(task)
        try:
            while True:
                try:
                    item, error = items.get(timeout=self.timeout)
                except queue.Empty:
                    raise self._timed_out(task) from None
                if error is not None:
                    raise error
                if item is _END:
                    return
                yield item
        finally:
            abandoned.append(True)

    def _wait(self, task: _Task) -> None:
        timeout = -1 if self.timeout is None else self.timeout
        if not task.done.acquire(timeout=timeout):
            raise self._timed_out(task)

    def _timed_out(self, task: _Task) -> ScoringError:
        has_begun = not task.claim()
        if has_begun and self.on_stuck is not None:
            self.on_stuck()
        return ScoringError(
            "the prediction took longer than {:g} s".format(self.timeout or 0)
            if has_begun
            else "the model was busy with other requests for {:g} s".format(self.timeout or 0),
            DEADLINE_EXCEEDED,
        )

    def _tasks(self) -> Any:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._queue = queue.SimpleQueue()
                    for number in range(self.threads):
                        threading.Thread(
                            target=_work_off,
                            args=(self._queue,),
                            name="predictor-{}".format(number),
                            daemon=True,
                        ).start()
                    self._pid = os.getpid()
        return self._queue


def _work_off(tasks: Any) -> None:
    while True:
        task = tasks.get()
        if task.claim():
            task.run()
        # The last task must not live on, with its request, while this thread waits.
        del task
