"""Servers as values: ``with launcher.serve(...) as server: server.predict(frame)``."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
import weakref
from collections.abc import Generator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from launcher.api.arguments import command_line
from launcher.api.lifelines import Lifeline
from launcher.api.payloads import document_of, encode, value_of
from launcher.commands import calling
from launcher.commands.prediction import format_of
from launcher.errors import LauncherError, ServerCrashedError, ServerNotReadyError, UsageError
from launcher.instances.detaching import BackgroundLauncher, last_lines, log_for_output
from launcher.supervision.log import TAIL_LINES, log_folder, new_log_path
from launcher.supervision.probes import ping, ping_url

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from launcher.api.keywords import ServeKeywords

_LOGGER = logging.getLogger("launcher")
_numbers = count(1)
# For a launcher that has let go of its port to have ended, in seconds.
_LAST_MOMENTS = 2.0


def serve(model_uri: str | os.PathLike[str], **options: Unpack[ServeKeywords]) -> Server:
    """Serve a model, and return once it is ready.

    Its steps until then go to the logger ``launcher``. The server is a process of its own: it
    stops at the end of a ``with`` block, by ``stop()``, and with this process, however that ends.

    :param model_uri: a folder or a URI, as on the command line.
    :param options: the options of ``launcher serve``, with ``_`` in the place of ``-``.
    :raises LauncherError: what the command would fail with.
    :raises TypeError: an option that there is not.
    """
    server = Server(command_line("serve", model_uri, options))
    server._start()
    return server


def aserve(model_uri: str | os.PathLike[str], **options: Unpack[ServeKeywords]) -> AsyncStart:
    """Serve a model without blocking the event loop: as `serve`, with ``async with`` or ``await``.

    A start that is cancelled leaves nothing behind.
    """
    return AsyncStart(Server(command_line("serve", model_uri, options)))


class Server:
    """A model that is being served, by a launcher that this process has started.

    ``url``, ``name`` (for ``launcher ps``, ``logs``, ``reload``) and ``log`` (a path) describe it.
    Threads may share it; so may processes that are forked off this one, but for stopping it.
    """

    url: str
    name: str
    log: Path

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._owner = os.getpid()
        self._starting = threading.Lock()
        self._lifeline: Lifeline | None = None
        self._launcher: BackgroundLauncher | None = None
        self._is_stopped = False

    def _start(self) -> None:
        self.log = new_log_path(log_folder(), f"api-{next(_numbers)}")
        try:
            with self._starting, log_for_output(self.log) as output:
                if self._is_stopped:
                    raise ServerNotReadyError("The start was stopped.")
                lifeline = self._lifeline = Lifeline()
                launcher = self._launcher = BackgroundLauncher(
                    [*self._arguments, f"--log-file={self.log}"],
                    stdout=output,
                    stderr=output,
                    lifeline=lifeline.theirs,
                )
                lifeline.started()
            # At the end of this process too, and when nobody has the server any more.
            weakref.finalize(self, _end, lifeline, launcher.process, self._owner)
            told = launcher.outcome(_said)
            if told is None:
                code = launcher.process.wait()
                raise ServerNotReadyError(f"The launcher ended with code {code}.")
            self.url, self.name = told["url"], told["name"]
            self._server = calling.find_server(str(launcher.process.pid), None)
        except ServerNotReadyError as error:
            self.stop()
            raise self._with_log(error) from None
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id of the launcher, which supervises the server."""
        assert self._launcher is not None
        return self._launcher.process.pid

    def ready(self) -> bool:
        """Whether it answers ``/ping``."""
        return not self._is_stopped and ping(ping_url(self.url), verify=False) is None

    def predict(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Ask the model.

        :param data: a DataFrame, an array, a dict of arrays, a list (of records, or of inputs), a
            dict as the body of ``/invocations``; or the path of a CSV, JSON, JSON lines or Parquet
            file.
        :param params: those of the model's signature.
        :param timeout: seconds for each wait; None leaves it to the server's own ``timeout``.
        :returns: records as a DataFrame; numbers, texts and rows of numbers as an array; all else
            as JSON has it. An answer without ``predictions`` (chats) as a whole.
        :raises RefusedError: the server has refused it; ``status`` is its answer's.
        :raises ServerCrashedError: the server has ended.
        :raises ServerNotReadyError: there is no answer.
        """
        if self._is_stopped:
            raise ServerNotReadyError(f"The server {self.name} has been stopped.")
        server = self._server._replace(timeout=timeout)
        try:
            if isinstance(data, (str, os.PathLike)):
                answer = _send_file(server, Path(data), params)
            else:
                body = encode(document_of(data, params))
                answer = b"".join(calling.predictions(server, body, "json"))
        except ServerNotReadyError as error:
            raise self._explained(error) from error
        return value_of(answer)

    async def apredict(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """As `predict`, without blocking the event loop."""
        return await asyncio.to_thread(self.predict, data, params=params, timeout=timeout)

    def logs(self, lines: int | None = None) -> str:
        """What the server has logged, or the last lines of it."""
        # An empty log does not stay.
        return last_lines(self.log, lines) if self.log.exists() else ""

    def stop(self) -> None:
        """Have requests in flight finished, and end the server; once more does nothing.

        In a process that was forked off the one that has started it: nothing.
        """
        if os.getpid() != self._owner:
            return
        with self._starting:
            self._is_stopped = True
            lifeline, launcher = self._lifeline, self._launcher
        if lifeline is not None:
            _end(lifeline, None if launcher is None else launcher.process, self._owner)

    async def astop(self) -> None:
        """As `stop`, without blocking the event loop."""
        await asyncio.to_thread(self.stop)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._is_stopped else getattr(self, "url", "starting")
        return f"<launcher.Server {getattr(self, 'name', '')} {state}>"

    def _explained(self, error: ServerNotReadyError) -> LauncherError:
        """Why there was no answer: a launcher that has ended takes the server along."""
        assert self._launcher is not None
        if isinstance(error.__cause__, TimeoutError):
            error.hint = "Give it more time with timeout."
            return error
        if os.getpid() == self._owner:
            with suppress(subprocess.TimeoutExpired):
                code = self._launcher.process.wait(_LAST_MOMENTS)
                ended = f"The server {self.name} has ended with code {code}."
                return self._with_log(ServerCrashedError(ended))
        return self._with_log(error)

    def _with_log(self, error: LauncherError) -> LauncherError:
        error.log_path, error.log_end = self.log, self.logs(TAIL_LINES)
        return error


def _end(lifeline: Lifeline, process: subprocess.Popen[bytes] | None, owner: int) -> None:
    if os.getpid() != owner:
        return
    lifeline.cut()
    if process is None:  # interrupted while it was made; it ends by itself
        return
    try:
        process.wait()
    except BaseException:
        # Interrupted once more: what the launcher has started ends with it.
        process.kill()
        process.wait()
        raise


def _said(level: str, text: str) -> None:
    _LOGGER.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)


def _send_file(server: calling.Server, path: Path, params: Mapping[str, Any] | None) -> bytes:
    kind = format_of(str(path))
    if kind.name is None or kind.compression is not None:
        raise UsageError(
            f"{path} is no file that is sent as it is.", "Such are .csv, .json, .jsonl, .parquet."
        )
    try:
        with path.open("rb") as file:
            if kind.name in ("csv", "parquet"):
                if params is not None:
                    raise UsageError(f"Params do not go with {kind.name}.", "Send JSON.")
                return b"".join(calling.predictions(server, file, kind.name))
            body = file.read() if kind.name == "json" else calling.records_of_lines(file)
    except OSError as error:  # one of the connection is another error by now
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if params is not None:
        body = calling.with_params(body, dict(params))
    return b"".join(calling.predictions(server, body, "json"))


class AsyncStart:
    """A server that is to be: ``async with`` it, or ``await`` it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __await__(self) -> Generator[Any, None, Server]:
        return self._run().__await__()

    async def _run(self) -> Server:
        try:
            await asyncio.to_thread(self._server._start)
        except asyncio.CancelledError:
            await asyncio.shield(self._server.astop())
            raise
        return self._server

    async def __aenter__(self) -> Server:
        return await self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.astop()
