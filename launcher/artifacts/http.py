"""HTTP for all that asks a server: one session, credentials for one origin, patient retries."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from launcher.artifacts.bodies import METADATA_LIMIT, raw_blocks, start_of_body, whole_body
from launcher.artifacts.source import ModelURIError, Report, silent
from launcher.artifacts.uris import origin_of, redact

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

LONGEST_PAUSE = 10.0
"""Seconds, whatever the backoff or a Retry-After header says."""
CONNECTIONS = 16
ERROR_LIMIT = 64 * 1024
"""Bytes of an error's body that are looked at."""
REDIRECTS = 10


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try; times in seconds."""

    connect_timeout: float = 10.0
    read_timeout: float = 120.0
    retries: int = 5
    backoff: float = 0.3


@dataclass(frozen=True)
class Settings:
    """How to talk to one server. The credentials go to `origin` and nowhere else."""

    origin: str = ""
    username: str | None = None
    password: str | None = None
    token: str | None = None
    headers: Mapping[str, str] | None = None
    verify: bool | str = True
    client_certificate: str | None = None
    patience: Patience = Patience()


class Unanswered(ModelURIError):
    """No answer came, however often it was asked: the server is down, slow, or not there."""


class Stopped(Exception):
    """The client was told to stop."""


class HTTPStatusError(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, code: str, text: str, retry_after: float = 0.0) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.retry_after = retry_after
        self.code = code
        """MLflow's error_code, "" when the server sent none."""
        self.text = text


class Client:
    """A connection pool. Safe to use from several threads."""

    def __init__(self, settings: Settings, report: Report = silent) -> None:
        from requests.adapters import HTTPAdapter

        self._settings = settings
        self._report = report
        patience = settings.patience
        self._timeout = (patience.connect_timeout, patience.read_timeout)
        self._stop = threading.Event()
        self._session = _new_session()
        self._session.headers["User-Agent"] = "mlmodel-launcher"
        self._session.headers.update(settings.headers or {})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        self._session.auth = _OriginAuth(settings)
        if settings.verify is False:
            import urllib3

            # Asked for by name in the environment; a warning for every request adds nothing.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def get_json(self, url: str, params: Mapping[str, str] | None = None) -> Any:
        """Return the decoded answer of a GET.

        :raises ModelURIError: as `call` does.
        """
        return self.call(lambda: self._json("GET", url, params=params), url)

    def post_json(self, url: str, body: Mapping[str, Any]) -> Any:
        """Return the decoded answer of a POST that changes nothing.

        :raises ModelURIError: as `call` does.
        """
        return self.call(lambda: self._json("POST", url, json=body), url)

    def get_bytes(self, url: str, limit: int = METADATA_LIMIT) -> bytes:
        """Return a body of `limit` bytes at most.

        :raises ModelURIError: it is longer, and as `call` does.
        """
        return self._read(url, lambda response: whole_body(response, url, limit))

    def start_of(self, url: str, count: int) -> bytes:
        """Return the first `count` bytes of a body.

        :raises ModelURIError: as `call` does.
        """
        return self._read(url, lambda response: start_of_body(response, count))

    def _read(self, url: str, take: Callable[[requests.Response], bytes]) -> bytes:
        def read() -> bytes:
            with self.open(url, {}) as response:
                return take(response)

        return self.call(read, url)

    def open(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Return an answer whose body is still to be read; close it.

        It is one attempt: exceptions of requests come out of it as well.

        :raises HTTPStatusError: its status is 400 or more.
        """
        return self._send("GET", url, headers={"Accept-Encoding": "identity", **headers})

    def call(
        self, attempt: Callable[[], Result], url: str, progress: Callable[[], int] = lambda: 0
    ) -> Result:
        """Return what `attempt` returns, trying again where trying again can help.

        Attempts that moved `progress` (a number of bytes) on do not count as failed ones.

        :raises HTTPStatusError: the answer will stay as it is.
        :raises Unanswered: there was no answer.
        """
        import requests
        import urllib3

        failures, before = 0, progress()
        while True:
            try:
                return attempt()
            except HTTPStatusError as error:
                if not _passes(error) or failures >= self._settings.patience.retries:
                    raise
                reason: Exception = error
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
                urllib3.exceptions.HTTPError,
                # A body cut short in a connection that requests no longer wraps.
                ConnectionError,
                TimeoutError,
            ) as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise _untrusted(url) from None
                if failures >= self._settings.patience.retries:
                    raise _unanswered(url, error) from None
                reason = error
            except requests.RequestException as error:
                raise ModelURIError(
                    f"{redact(url)!r} cannot be asked: {type(error).__name__}.",
                    "Check the address.",
                ) from None
            after = progress()
            failures, before = (0 if after > before else failures + 1), after
            self._pause(failures, reason, url)

    def stop(self) -> None:
        """End every pause; attempts that are under way end with their next block."""
        self._stop.set()

    def check_stopped(self) -> None:
        """Raise Stopped after `stop` was called."""
        if self._stop.is_set():
            raise Stopped

    def headers_of(self, url: str) -> Mapping[str, str]:
        """Return the headers of a HEAD request.

        :raises ModelURIError: as `call` does.
        """

        def head() -> Mapping[str, str]:
            with self._send("HEAD", url) as response:
                next(raw_blocks(response), b"")  # to its end, so that its connection serves again
                return response.headers

        return self.call(head, url)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send(self, method: str, url: str, **more: Any) -> requests.Response:
        import requests

        for _ in range(REDIRECTS):
            response = self._session.request(
                method,
                url,
                timeout=self._timeout,
                # For each request: a session's own `verify` yields to REQUESTS_CA_BUNDLE.
                verify=self._settings.verify,
                cert=self._settings.client_certificate,
                stream=True,
                **more,
            )
            location = requests.Session.get_redirect_target(self._session, response)
            if location is None:
                break
            with response:
                url = _redirected(url, location)
            if method == "POST" and response.status_code in (301, 302, 303):  # RFC 9110, 15.4
                method = "GET"
                more.pop("json", None)
            more.pop("params", None)
        else:
            raise ModelURIError(
                f"{redact(url)!r} redirects without end.", "Check the address with a browser."
            )
        # 416: the range asked for starts at the end, which is for the caller to judge.
        if response.status_code >= 400 and response.status_code != 416:
            with response:
                raise _status_error(response)
        return response

    def _json(self, method: str, url: str, **more: Any) -> Any:
        with self._send(method, url, **more) as response:
            body = whole_body(response, url, METADATA_LIMIT)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise not_as_mlflow(url) from None

    def _pause(self, failures: int, reason: Exception, url: str) -> None:
        if failures == 2:
            self._report(f"No good answer from {origin_of(url)} ({_short(reason)}); trying again.")
        wanted = (
            self._settings.patience.backoff * 2 ** max(0, failures - 1) * random.uniform(0.8, 1.2)
        )
        if self._stop.wait(min(LONGEST_PAUSE, max(wanted, getattr(reason, "retry_after", 0.0)))):
            raise Stopped


def _new_session() -> requests.Session:
    """Return a session that follows no redirect: requests reads the whole of each on the way."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
            return None

    return Session()


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads to.

    :raises ModelURIError: it must not be followed.
    """
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        raise ModelURIError(
            f"{redact(url)!r} redirects to what is no address.", "Check the address with a browser."
        ) from None
    if scheme == "https" or (scheme == "http" and urlsplit(url).scheme == "http"):
        return target
    raise ModelURIError(
        f"Refused: {redact(url)!r} redirects to {redact(target)!r}, where anyone on the way could "
        "change the model.",
        "Have the server redirect to https:, or give the last address itself if you trust it.",
    )


def not_as_mlflow(url: str) -> ModelURIError:
    """Return the error for an answer that no MLflow tracking server gives."""
    return ModelURIError(
        f"The server at {origin_of(url)!r} does not answer as an MLflow tracking server.",
        "Check MLFLOW_TRACKING_URI: it is the address that opens MLflow's own pages.",
    )


def _unanswered(url: str, error: Exception) -> Unanswered:
    return Unanswered(
        f"The server at {origin_of(url)!r} does not answer ({_short(error)}).",
        "Check that it runs and can be reached from here; MLFLOW_HTTP_REQUEST_TIMEOUT "
        "(seconds) and MLFLOW_HTTP_REQUEST_MAX_RETRIES give a slow one more time.",
    )


def _untrusted(url: str) -> ModelURIError:
    return ModelURIError(
        f"The certificate of {origin_of(url)!r} is not trusted here.",
        "Give its CA's certificate in MLFLOW_TRACKING_SERVER_CERT_PATH, or set "
        "MLFLOW_TRACKING_INSECURE_TLS=true to skip the check.",
    )


class _OriginAuth:
    """Puts credentials on requests to one origin; without any, .netrc counts for all others.

    Being set as the session's `auth` also keeps .netrc from replacing a token.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        from requests.utils import get_netrc_auth

        settings, url = self._settings, request.url or ""
        if settings.origin and origin_of(url) == settings.origin:
            if settings.username is not None and settings.password is not None:
                return _basic(request, settings.username, settings.password)
            if settings.token:
                request.headers["Authorization"] = f"Bearer {settings.token}"
                return request
        found = get_netrc_auth(url)
        return _basic(request, *found) if found else request


def _basic(
    request: requests.PreparedRequest, username: str, password: str
) -> requests.PreparedRequest:
    from requests.auth import HTTPBasicAuth

    # As bytes: requests would encode text as Latin-1, MLflow's client sends UTF-8.
    HTTPBasicAuth(username.encode(), password.encode())(request)
    return request


def _passes(error: HTTPStatusError) -> bool:
    """Whether a failure is of a kind that may be gone the next time (RFC 9110, 6585)."""
    if "serve-artifacts" in error.text:  # MLflow's 503 for what is switched off
        return False
    return error.status in (408, 425, 429) or (error.status >= 500 and error.status != 501)


def _status_error(response: requests.Response) -> HTTPStatusError:
    code, body = "", start_of_body(response, ERROR_LIMIT)
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        # MLflow says in plain text that it serves no artifacts; a page of HTML tells nothing.
        text = "" if text.lstrip().startswith("<") else text
    else:
        if isinstance(answer, dict):
            code, text = str(answer.get("error_code", "")), str(answer.get("message", ""))
    first_line = (text or response.reason or "").strip()[:500].splitlines()
    after = response.headers.get("Retry-After", "")
    return HTTPStatusError(
        response.status_code,
        code,
        first_line[0] if first_line else "",
        float(after) if after.isdigit() else 0.0,
    )


def _short(error: Exception) -> str:
    """Say what happened without the addresses and object names that libraries put in."""
    if isinstance(error, HTTPStatusError):
        return f"HTTP {error.status}"
    text = str(error).lower()
    for sign, words in _SIGNS.items():
        if sign in text:
            return words
    return "timed out" if "timeout" in type(error).__name__.lower() else type(error).__name__


_SIGNS = {
    "name or service not known": "no such host",
    "failed to resolve": "no such host",
    "refused": "connection refused",
    "timed out": "timed out",
    "reset": "connection reset",
    "without response": "connection closed",
    "incompleteread": "connection cut",
    "unreachable": "network unreachable",
}
