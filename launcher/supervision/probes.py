"""Does a server answer? Asked once, until it does, or again and again."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

# What says nothing of the server: it could not be asked.
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Unasked(str):
    """Why a server could not be asked."""

    __slots__ = ()


def ping_url(server: str) -> str:
    """The URL of ``/ping`` of a server.

    :param server: its address, see `ServerAddress.parse`; one that ends in /ping is taken as it is.
    :raises UsageError: it is no address.
    """
    from launcher.supervision.server_address import ServerAddress

    address = ServerAddress.parse(server)
    return str(address if address.path.endswith("/ping") else address.below("/ping"))


def url_below(server: str, path: str) -> str:
    """The URL of a path of a server.

    :param server: its address, without a path.
    """
    return f"{server}:{path}" if server.startswith("unix:") else server + path


def ping(url: str, timeout: float = 5.0, *, verify: bool = True) -> str | None:
    """Ask once.

    :param url: what is asked for.
    :param timeout: seconds to wait for the connection and for the answer.
    :param verify: check an https server's certificate; not for the launcher's own server.
    :returns: None when it answered 200, else one line that says what happened; `Unasked` where
        this process has no descriptor or memory to ask with.
    """
    # Here and below: the server starts without waiting for these imports.
    import http.client

    from launcher.supervision.server_address import ServerAddress

    address = ServerAddress.parse(url)
    is_trusted = address.scheme == "https" and not verify
    connection = address.connection(timeout, _trusting_context() if is_trusted else None)
    try:
        connection.request("GET", address.target)
        status = connection.getresponse().status
    except (ConnectionRefusedError, FileNotFoundError):
        return "nothing listens there"
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        text = str(error) or type(error).__name__
        return Unasked(text) if getattr(error, "errno", None) in _OURS else text
    finally:
        connection.close()
    return None if status == 200 else f"{address.target} answered {status}"


def _trusting_context() -> ssl.SSLContext:
    """For the launcher's own server: its certificate is for another name than this address."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wait_until_ready(
    url: str,
    seconds: float,
    interval: float = 0.1,
    *,
    timeout: float = 5.0,
    verify: bool = True,
) -> str | None:
    """Ask until ``url`` answers 200 or ``seconds`` have passed; once in any case.

    Nothing on this machine can be waited on for a server that may be anywhere, hence the interval.

    :param timeout: seconds that the server has for one answer; the first may outlast ``seconds``.
    :returns: None once ready, else what the last try said.
    """
    deadline = time.monotonic() + seconds
    problem = ping(url, timeout=timeout, verify=verify)
    while problem is not None and time.monotonic() + interval < deadline:
        time.sleep(interval)
        left = max(deadline - time.monotonic(), 0.05)
        problem = ping(url, timeout=min(timeout, left), verify=verify)
    return problem


class Probe:
    """Asks a server again and again, from a thread, since one that hangs keeps one waiting.

    :param url: what is asked for.
    :param every: seconds between two questions.
    :param on_answer: called after each answer of 200.
    :param silence: seconds without an answer after which ``on_silent`` is called, once; None for
        never. Both calls are made in the probe's thread.
    """

    def __init__(
        self,
        url: str,
        every: float,
        *,
        on_answer: Callable[[], None],
        silence: float | None = None,
        on_silent: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._every = every
        self._on_answer = on_answer
        self._silence = silence
        self._on_silent = on_silent
        self._ended = threading.Event()
        threading.Thread(target=self._ask, name="probe", daemon=True).start()

    def stop(self) -> None:
        """Ask no more. A question that is under way comes to nothing."""
        self._ended.set()

    def _ask(self) -> None:
        answered, silence = time.monotonic(), self._silence
        while not self._ended.wait(self._every):
            # A server has all the time that is left for its answer: a slow one is not a silent one.
            timeout = 5.0 if silence is None else answered + silence - time.monotonic()
            problem = ping(self._url, timeout=max(timeout, 0.05), verify=False)
            if self._ended.is_set():
                return
            if problem is None or isinstance(problem, Unasked):
                answered = time.monotonic()
            if problem is None:
                self._on_answer()
            elif silence is not None and time.monotonic() >= answered + silence:
                self._on_silent()
                return
