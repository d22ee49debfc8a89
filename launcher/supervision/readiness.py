"""Readiness: does ``/ping`` answer 200?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from launcher.errors import UsageError

if TYPE_CHECKING:
    import http.client


def ping(url: str, timeout: float = 5.0, *, verify: bool = True) -> str | None:
    """Ask ``/ping`` once.

    :param url: the server's base URL, http or https; a path that ends in /ping is taken as it is.
    :param timeout: seconds to wait for the connection and for the answer.
    :param verify: check an https server's certificate; not for the launcher's own server.
    :returns: None when it answered 200, else one line that says what happened.
    :raises UsageError: ``url`` is not an HTTP URL.
    """
    # Here and below: the server starts without waiting for these imports.
    import http.client

    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not an HTTP URL.", "For example: http://127.0.0.1:5000")
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r}: {error}.") from error
    path = parts.path.rstrip("/")
    path = path if path.endswith("/ping") else f"{path}/ping"
    connection = _connection(parts.scheme, parts.hostname, port, timeout, verify)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return "nothing listens there"
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return None if status == 200 else f"/ping answered {status}"


def _connection(
    scheme: str, host: str, port: int | None, timeout: float, verify: bool
) -> http.client.HTTPConnection:
    import http.client

    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def wait_until_ready(
    url: str, seconds: float, interval: float = 0.1, *, verify: bool = True
) -> str | None:
    """Ask ``/ping`` until it answers 200 or ``seconds`` have passed.

    Nothing on this machine can be waited on for a server that may be anywhere, hence the interval.

    :returns: None once ready, else what the last try said.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        problem = ping(url, timeout=max(min(5.0, left), 0.05), verify=verify)
        if problem is None or time.monotonic() + interval >= deadline:
            return problem
        time.sleep(interval)
