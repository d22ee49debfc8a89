"""One R process: asked over two pipes, ended with its owner."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any, Dict, Optional

from ...errors import INTERNAL_ERROR, ModelLoadError, ScoringError, SpentError, reason
from .reading import NotReadable, load
from .writing import dump

_SCRIPT = str(Path(__file__).with_name("worker.R"))
# Sources the script into an environment of its own, and runs it.
_START = (
    "local({worker <- new.env(parent = baseenv()); given <- commandArgs(TRUE);"
    " sys.source(given[[1]], worker, keep.source = FALSE);"
    " worker$run(given[[2]], given[[3]], given[[4]])})"
)
_LENGTH = struct.Struct("=i")
_HEAD = struct.Struct("=iii")
# What an answer begins with: the model can reach the pipe, and write there what it likes.
_MARK = 0x52434154
_WROTE = "wrote into the server's own pipe"
_FAILED = 1
_MOST = (1 << 31) - 1
_READ_SIZE = 1 << 18
# How often it is looked whether the process still lives: what the model has started may hold the
# pipe open when R has ended. In milliseconds.
_LOOK_EVERY = 1000
# Seconds that R has to end by itself once its pipe has ended.
_ENDING_SECONDS = 1.0


class RError(Exception):
    """An error of R's: its message is all there is."""


class REndedError(SpentError):
    """R has ended instead of answering: `what` it did."""

    def __init__(self, what: str) -> None:
        super().__init__("R {} while it answered this request.".format(what), INTERNAL_ERROR)
        self.what = what


class RProcess:
    """A process of R that has loaded a crate.

    :param rscript: the path of R's `Rscript`.
    :param crate: the file.
    :param is_alone: whether R shall have nothing of what the user has set up for theirs.
    :raises ModelLoadError: R cannot load it.
    """

    def __init__(self, rscript: str, crate: str, is_alone: bool = False) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._descriptors = [self._requests, self._answers]
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        options = ["--vanilla"] if is_alone else []
        # The terminal's Ctrl-C is not for a worker: what it has in hand is answered first. R has a
        # handler of its own where the signal is only ignored.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process = subprocess.Popen(
                [rscript, *options, "-e", _START, _SCRIPT, str(requests), str(answers), crate],
                stdin=subprocess.DEVNULL,
                # What the model prints goes where the server's log goes.
                stdout=2,
                pass_fds=(requests, answers),
                env=_environ(),
            )
        except OSError as error:
            while self._descriptors:
                os.close(self._descriptors.pop())
            raise ModelLoadError("R cannot be started: {}.".format(reason(error))) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(requests)
            os.close(answers)
        try:
            self._answer()
        except RError as error:
            self.close()
            text = " ".join(reason(error).split())
            raise ModelLoadError(
                "R cannot load the crate: {}.".format(text), _hint(text)
            ) from error
        except REndedError as error:
            self.close()
            raise ModelLoadError("R {} before it had the crate.".format(error.what)) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, and can be asked no more."""
        return self._process.poll() is not None

    def ask(self, request: Dict[str, Any]) -> Any:
        """R's answer to a request.

        :param request: as `worker.R` has it.
        :raises RError: the crate raised an error.
        :raises REndedError: R ended instead.
        :raises ScoringError: R's types would lose something of the request.
        """
        data = dump(request)
        if len(data) > _MOST:
            raise ScoringError("The table is larger than 2 GB.", status=413)
        try:
            self._send(_LENGTH.pack(len(data)), data)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _send(self, head: bytes, data: bytes) -> None:
        if len(data) < select.PIPE_BUF:
            os.write(self._requests, head + data)
            return
        os.write(self._requests, head)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._requests, rest) :]

    def _answer(self) -> Any:
        data = self._receive(_READ_SIZE)
        while len(data) < _HEAD.size:
            data += self._receive(_HEAD.size - len(data))
        mark, size, kind = _HEAD.unpack_from(data)
        if mark != _MARK or size < 0:
            raise self._ended(_WROTE)
        pieces = [data[_HEAD.size :]]
        size -= len(pieces[0])
        while size > 0:
            pieces.append(self._receive(size))
            size -= len(pieces[-1])
        try:
            answer = load(b"".join(pieces))
        except NotReadable:
            raise self._ended(_WROTE) from None
        if size < 0:
            raise self._ended(_WROTE)
        if kind == _FAILED:
            raise RError(answer.tolist()[0])
        return answer

    def _receive(self, most: int) -> bytes:
        """What has come, and some of it at least."""
        while not self._poll.poll(_LOOK_EVERY):
            if self.has_ended:
                raise self._ended()
        data = os.read(self._answers, min(most, _READ_SIZE))
        if not data:
            raise self._ended()
        return data

    def _ended(self, what: Optional[str] = None) -> REndedError:
        """The error for its end, after which it has ended; `what` it was ended for."""
        self._process.kill()
        code = self._process.wait()
        if what is not None:
            return REndedError(what)
        what = "was killed by signal {}".format(-code) if code < 0 else "ended"
        if code > 0:
            what = "exited with code {}".format(code)
        return REndedError(what)

    def close(self) -> None:
        """End it; it may have ended before."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environ() -> Dict[str, str]:
    environ = dict(os.environ)
    if not any(environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        environ["LC_CTYPE"] = "C.UTF-8"
    # Messages of the memory's end are told by their words.
    environ["LANGUAGE"] = "en"
    return environ


def _hint(message: str) -> Optional[str]:
    if "there is no package called" in message:
        return "Install that package in R."
    return None
