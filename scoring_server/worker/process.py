"""A worker process: takes requests from the front, has its handler answer them.

It knows nothing of HTTP connections. With one thread (the default) the model runs in the main
thread, one request after the other; `threads` above that run that many at a time.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, List, NamedTuple, NoReturn, Sequence, Tuple

from ..config import ServerSettings
from ..errors import INTERNAL_ERROR, ModelLoadError, ScoringError
from ..memory import bound_process
from ..routes import Answer, Request
from ..service import EXIT_OUT_OF_MEMORY, Batching, Handler, Service
from .channel import (
    ANSWER,
    BEGIN,
    END,
    FAILED,
    LOADED,
    MAX_BODY,
    MAX_TEXT,
    PIECE,
    Begun,
    Channel,
    Message,
    encode,
)
from .lifeline import die_with_parent

logger = logging.getLogger(__name__)

EXIT_LOAD_FAILED = 3
# In the environment of what a worker starts: the worker's process id.
WORKER_VARIABLE = "SCORING_SERVER_WORKER"


class ProcessEnd(NamedTuple):
    """What a process just forked is given.

    :param connection: its end of the channel.
    :param mark: that of the messages.
    :param begun: where it notes what it has in hand.
    :param parent: the front's process id.
    """

    connection: socket.socket
    mark: bytes
    begun: Begun
    parent: int


class Worker:
    """Answers what comes through `channel`.

    :param begun: where it notes what it has in hand.
    :param handler: answers the requests.
    :param threads: how many requests it answers at a time.
    """

    def __init__(
        self, channel: Channel, begun: Begun, handler: Handler, service: Service, threads: int
    ) -> None:
        self._channel = channel
        self._begun = begun
        self._handler = handler
        self._service = service
        self._threads = threads
        self._writing = threading.Lock()
        self._stopping = False

    def run(self) -> None:
        """Answer requests until the front closes the channel, or SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        if self._threads > 1:
            tasks: Any = queue.SimpleQueue()
            for number in range(self._threads):
                threading.Thread(
                    target=self._work_off,
                    args=(tasks, number),
                    name="worker-%d" % number,
                    daemon=True,
                ).start()
            take = tasks.put
        elif self._handler.can_batch and self._service.batching is not None:
            self._answer_batches(self._service.batching)
            return
        else:
            take = self._answer
        while not self._stopping:
            message = self._channel.read()
            if message is None:
                return
            take(message)

    def _answer_batches(self, batching: Batching) -> None:
        """Take together what came while the model was busy."""
        wait = self._service.config.server.batch_wait
        while not self._stopping:
            together = self._channel.read_together(batching.most_together, wait)
            if len(together) > 1:
                self._answer_together(together)
            elif together:
                self._answer(together[0])
            else:
                return

    def _answer_together(self, together: List[Message]) -> None:
        held: List[int] = []

        def begin(places: Sequence[int]) -> None:
            for slot in held:
                self._begun.note(slot, 0)
            held[:] = places
            for slot in held:
                self._begun.note(slot, together[slot].number)

        begin(range(len(together)))
        requests = [self._request(message) for message in together]
        parts = self._handler.answer_together(requests, begin)
        try:
            for part in parts:
                self._send_answers([(together[place], answer) for place, answer in part])
                begin(())
                # What has not begun is given to another worker.
                if self._stopping or self._handler.exit_code is not None:
                    break
        except (BrokenPipeError, ConnectionResetError):
            self._stopping = True
        finally:
            begin(())
            self._end_if_spent()

    def _send_answers(self, answers: List[Tuple[Message, Answer]]) -> None:
        ready, others = [], []
        for message, answer in answers:
            if isinstance(answer.body, bytes) and len(answer.body) <= MAX_BODY:
                meta = (answer.status, answer.headers, list(answer.stages))
                ready += encode(self._channel.mark, ANSWER, message.number, meta, answer.body)
            else:
                others.append((message, answer))
        self._channel.connection.sendall(b"".join(ready))
        for message, answer in others:
            self._send_answer(message, answer)

    def _stop(self, _signum: int, _frame: Any) -> None:
        """Finish the request in hand; the front gives what waits behind it to another worker."""
        self._stopping = True
        if not any(self._begun.numbers()):
            self._handler.close()
            os._exit(0)

    def _work_off(self, tasks: Any, slot: int) -> None:
        while True:
            message = tasks.get()
            if self._handler.exit_code is not None:
                return
            self._answer(message, slot)

    def _request(self, message: Message) -> Request:
        return self._service.request(message.meta, message.body)

    def _answer(self, message: Message, slot: int = 0) -> None:
        self._begun.note(slot, message.number)
        try:
            self._send_answer(message, self._handler.answer(self._request(message)))
        # The front is gone or has given this worker up; the main thread meets the same end.
        except (BrokenPipeError, ConnectionResetError):
            self._stopping = True
        finally:
            self._begun.note(slot, 0)
            self._end_if_spent()

    def _end_if_spent(self) -> None:
        """End once all threads have answered; the front gives what waits to another worker."""
        code = self._handler.exit_code
        if code is None:
            return
        self._stopping = True
        if not any(self._begun.numbers()):
            self._handler.close()
            _exit(code)

    def _send_answer(self, message: Message, answer: Answer) -> None:
        if isinstance(answer.body, bytes) and len(answer.body) > MAX_BODY:
            error = ScoringError("The answer is larger than 2 GB.", INTERNAL_ERROR)
            answer = self._request(message).group.error(error)
        meta = (answer.status, answer.headers, list(answer.stages))
        if isinstance(answer.body, bytes):
            self._send(ANSWER, message.number, meta, answer.body)
            return
        pieces: Any = answer.body
        self._send(BEGIN, message.number, meta)
        try:
            for piece in pieces:
                if piece:
                    self._send(PIECE, message.number, None, piece)
                if self._is_cancelled(message.number):
                    break
            self._send(END, message.number)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception:
            logger.exception("A stream broke off.")
            self._send(END, message.number, ("broken",))
        finally:
            pieces.close()
            self._channel.cancelled.discard(message.number)

    def _is_cancelled(self, number: int) -> bool:
        if self._threads > 1:
            # The main thread reads all the time, also what says so.
            return number in self._channel.cancelled
        return self._channel.is_cancelled(number)

    def _send(self, kind: int, number: int, meta: Any = None, body: bytes = b"") -> None:
        with self._writing:
            self._channel.write(kind, number, meta, body)


def leaves_a_processor(settings: ServerSettings) -> bool:
    """Whether the workers leave a processor free, and each runs its requests one by one."""
    processors = settings.processors
    if processors is None:
        try:
            processors = len(os.sched_getaffinity(0))
        except AttributeError:  # not Linux
            processors = os.cpu_count() or 1
    return settings.threads <= 1 and processors > settings.workers


def run_worker(end: ProcessEnd, service: Service) -> NoReturn:
    """Be a worker, in a process just forked."""

    def run() -> int:
        settings = service.config.server
        os.environ[WORKER_VARIABLE] = str(os.getpid())
        channel = Channel(end.connection, end.mark, stay_awake=leaves_a_processor(settings))
        started = time.monotonic()
        if service.config.model.traits.has_process:
            from .scratch import Scratch

            Scratch(settings.scratch, end.parent).claim()
        try:
            handler = service.load()
        except ModelLoadError as error:
            texts = (error.message, error.hint or "", traceback.format_exc())
            channel.write(FAILED, 0, tuple(text[-MAX_TEXT:] for text in texts))
            return EXIT_LOAD_FAILED
        if settings.worker_memory is not None:
            bound_process(settings.worker_memory)
        channel.write(LOADED, 0, (time.monotonic() - started,))
        try:
            Worker(channel, end.begun, handler, service, settings.threads).run()
        finally:
            handler.close()
        return 0

    _be_child(run, end.parent)


def run_pages(end: ProcessEnd, service: Service) -> NoReturn:
    """Be the pages' process, in a process just forked."""

    def run() -> int:
        channel = Channel(end.connection, end.mark)
        Worker(channel, end.begun, service.load_pages(), service, threads=1).run()
        return 0

    _be_child(run, end.parent)


def _be_child(run: Callable[[], int], parent: int) -> NoReturn:
    code = 1
    try:
        _own_signals()
        die_with_parent()
        code = run() if os.getppid() == parent else 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0
    except MemoryError:
        code = EXIT_OUT_OF_MEMORY
        traceback.print_exc()
    except BaseException:  # noqa: BLE001
        # Nothing above this belongs to a child: it must not get there.
        traceback.print_exc()
    finally:
        _exit(code)
    raise AssertionError


def _exit(code: int) -> NoReturn:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _own_signals() -> None:
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(each, signal.SIG_DFL)
    # The front decides; a terminal's Ctrl-C is not for one worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
