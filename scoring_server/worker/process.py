"""A worker process: takes requests from the front, has the WSGI application answer them.

It knows nothing of HTTP connections. With one thread (the default) the model runs in the main
thread, one request after the other; `threads` above that run that many at a time.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Tuple

from ..config import ServerConfig, ServerSettings
from ..model.loading import ModelLoadError
from ..scoring import stages
from ..scoring.application import is_invocation
from .channel import ANSWER, BEGIN, END, FAILED, LOADED, PIECE, Begun, Channel, Frame, encode
from .lifeline import die_with_parent

logger = logging.getLogger(__name__)

Wsgi = Any  # a WSGI callable, `application.ScoringWsgi` where it can batch
EXIT_LOAD_FAILED = 3
# Requests of one batch.
MOST_TOGETHER = 256


class Worker:
    """Answers what comes through `channel`.

    :param wsgi: the application, its model loaded.
    :param threads: how many requests it answers at a time.
    """

    def __init__(self, channel: Channel, begun: Begun, wsgi: Wsgi, config: ServerConfig) -> None:
        self._channel = channel
        self._begun = begun
        self._wsgi = wsgi
        self._settings = config.server
        self._threads = config.server.threads
        self._writing = threading.Lock()
        self._stopping = False
        self._environ = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": config.server.host,
            "SERVER_PORT": str(config.server.port),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if config.server.tls_cert else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": self._threads > 1,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }

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
        elif getattr(self._wsgi, "can_batch", False):
            self._answer_batches()
            return
        else:
            take = self._answer
        while not self._stopping:
            frame = self._channel.read()
            if frame is None:
                return
            take(frame)

    def _answer_batches(self) -> None:
        """Take together what came while the model was busy."""
        settings = self._settings
        most = requests_at_a_time(settings)
        while not self._stopping:
            frames = self._channel.read_together(most, settings.batch_wait)
            if not frames:
                return
            together = []
            for frame in frames:
                method, path = frame.meta[:2]
                if is_invocation(method, path):
                    together.append(frame)
                else:
                    self._answer(frame)
            if together:
                self._answer_together(together)

    def _answer_together(self, together: List[Frame]) -> None:
        for slot, frame in enumerate(together):
            self._begun.note(slot, frame.number)
        requests = [(each.body, each.meta[4].get("content-type")) for each in together]
        answers = []
        for frame, (status, headers, body) in zip(together, self._wsgi.answer_together(requests)):
            answers += encode(ANSWER, frame.number, (status, headers, stages.take()), body)
        try:
            self._channel.connection.sendall(b"".join(answers))
        except (BrokenPipeError, ConnectionResetError):
            self._stopping = True
        finally:
            for slot in range(len(together)):
                self._begun.note(slot, 0)

    def _stop(self, _signum: int, _frame: Any) -> None:
        """Finish the request in hand; the front gives what waits behind it to another worker."""
        self._stopping = True
        if not any(self._begun.numbers()):
            os._exit(0)

    def _work_off(self, tasks: Any, slot: int) -> None:
        while True:
            self._answer(tasks.get(), slot)

    def _answer(self, frame: Frame, slot: int = 0) -> None:
        self._begun.note(slot, frame.number)
        try:
            self._respond(frame)
        # The front is gone or has given this worker up; the main thread meets the same end.
        except (BrokenPipeError, ConnectionResetError):
            self._stopping = True
        finally:
            self._begun.note(slot, 0)

    def _respond(self, frame: Frame) -> None:
        environ = self._make_environ(frame)
        head: List[Any] = []

        def start_response(status: str, headers: Any, _exc_info: Any = None) -> None:
            head[:] = [status, [(str(name), str(value)) for name, value in headers]]

        result = None
        begun = False
        try:
            result = self._wsgi(environ, start_response)
            if isinstance(result, (list, tuple)):
                self._send(ANSWER, frame.number, self._meta(head), b"".join(result))
                return
            if any(name.lower() == "content-length" for name, _ in head[1] if head):
                self._send(ANSWER, frame.number, self._meta(head), b"".join(result))
                return
            for piece in result:
                if not begun:
                    self._send(BEGIN, frame.number, self._meta(head))
                    begun = True
                if piece:
                    self._send(PIECE, frame.number, None, piece)
                if self._channel.is_cancelled(frame.number):
                    break
            if not begun:
                self._send(BEGIN, frame.number, self._meta(head))
            self._send(END, frame.number)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception:
            logger.exception("the application failed")
            if begun:
                self._send(END, frame.number, ("broken",))
            else:
                body = b'{"error_code": "INTERNAL_ERROR", "message": "internal error"}'
                headers = [("Content-Type", "application/json")]
                meta = ("500 Internal Server Error", headers, stages.take())
                self._send(ANSWER, frame.number, meta, body)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            self._channel.cancelled.discard(frame.number)

    @staticmethod
    def _meta(head: List[Any]) -> Tuple[Any, ...]:
        return (head[0], head[1], stages.take())

    def _send(self, kind: int, number: int, meta: Any = None, body: bytes = b"") -> None:
        with self._writing:
            self._channel.write(kind, number, meta, body)

    def _make_environ(self, frame: Frame) -> Dict[str, Any]:
        method, path, query, version, headers, peer = frame.meta
        environ = dict(self._environ)
        environ["REQUEST_METHOD"] = method
        environ["PATH_INFO"] = _unquote(path) if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = "HTTP/" + version
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer
        environ["wsgi.input"] = io.BytesIO(frame.body)
        for name, value in headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ.pop("HTTP_CONTENT_LENGTH", None)
        environ["CONTENT_LENGTH"] = str(len(frame.body))
        content_type = environ.pop("HTTP_CONTENT_TYPE", None)
        if content_type is not None:
            environ["CONTENT_TYPE"] = content_type
        return environ


def requests_at_a_time(settings: ServerSettings) -> int:
    """How many requests a worker can have in hand."""
    if settings.max_batch_rows:
        # Each has a row at least; more than this many gain nothing.
        return min(settings.max_batch_rows, MOST_TOGETHER)
    return max(1, settings.threads)


def _leaves_a_processor(settings: ServerSettings) -> bool:
    """Whether the workers leave a processor free, and each runs its requests one by one."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        processors = os.cpu_count() or 1
    return settings.threads <= 1 and processors > settings.workers


def _unquote(path: str) -> str:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


def run_worker(
    connection: socket.socket,
    begun: Begun,
    load: Callable[[], Wsgi],
    config: ServerConfig,
    parent: int,
) -> None:
    """Be a worker, in a process just forked; does not return.

    :param begun: where it notes what it has in hand.
    :param load: gives the application; loads the model where the front has not.
    :param parent: the front's process id.
    """
    code = 1
    try:
        _own_signals()
        die_with_parent()
        if os.getppid() != parent:
            os._exit(0)
        channel = Channel(connection, stay_awake=_leaves_a_processor(config.server))
        started = time.monotonic()
        try:
            wsgi = load()
        except ModelLoadError as error:
            channel.write(FAILED, 0, (error.message, error.hint, traceback.format_exc()))
            code = EXIT_LOAD_FAILED
        else:
            channel.write(LOADED, 0, (time.monotonic() - started,))
            Worker(channel, begun, wsgi, config).run()
            code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0
    except BaseException:  # noqa: BLE001
        # Nothing above this frame belongs to a worker: it must not get there.
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _own_signals() -> None:
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(each, signal.SIG_DFL)
    # The front decides; a terminal's Ctrl-C is not for one worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
