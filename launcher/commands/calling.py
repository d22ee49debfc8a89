"""``launcher call``: sends a file to a served model, and gives back what it answers."""

from __future__ import annotations

import http.client
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from launcher.errors import LauncherError, ServerNotReadyError, UsageError
from launcher.instances.registry import find_instance
from launcher.supervision.server_address import ServerAddress

if TYPE_CHECKING:
    import ssl

_MEDIA_TYPES = {
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
_BLOCK = 1 << 16
# Of a refusal, which may be a proxy's page.
_MOST_READ, _LONGEST_MESSAGE = 1 << 20, 500


class Server(NamedTuple):
    """A server, and what it takes to get in.

    ``authority``: certificates to trust in the place of the system's; ``is_pinned``: the server's
    own is one of them, whatever name it is for. ``timeout``: seconds for each wait.
    """

    address: ServerAddress
    token: str | None = None
    authority: Path | None = None
    is_pinned: bool = False
    timeout: float | None = 60.0

    def context(self) -> ssl.SSLContext | None:
        """What https is verified with; None for the system's authorities.

        :raises UsageError: the certificates cannot be read.
        """
        if self.address.scheme != "https" or self.authority is None:
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"The certificate {self.authority} cannot be used: {error}."
            ) from error
        if self.is_pinned:
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def find_server(target: str, timeout: float | None) -> Server:
    """The server at an address, or that of an instance, with the token that it was started with.

    :param target: what has a slash or a colon is an address, else a name or process id of ``ps``.
    :raises UsageError: it is neither.
    """
    if "/" in target or ":" in target:
        return Server(ServerAddress.parse(target), timeout=timeout)
    instance = find_instance(target)
    token = None if instance.token_file is None else read_token(Path(instance.token_file))
    authority = None if instance.tls_cert is None else Path(instance.tls_cert)
    address = ServerAddress.parse(instance.url)
    return Server(address, token, authority, authority is not None, timeout)


def read_token(path: Path) -> str:
    """The token in a file.

    :raises UsageError: it cannot be read.
    """
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The token file {path} cannot be read: {error}.", "Give the token with --token-file."
        ) from error


def example_body(server: Server) -> bytes:
    """The model's input example, as the server's own description has it.

    :raises LauncherError: there is none, or the server cannot be asked.
    """
    hint = "Give a CSV, JSON or Parquet file with -i; -i - is standard input."
    try:
        answer = b"".join(ask(server, "GET", server.address.below("/openapi.json")))
        content = json.loads(answer)["paths"]["/invocations"]["post"]["requestBody"]["content"]
        return json.dumps(content["application/json"]["example"]).encode()
    except RefusedError as error:
        raise UsageError(f"{server.address} does not say what it takes.", hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("The model has no input example.", hint) from error


def records_of_lines(lines: Iterable[bytes]) -> bytes:
    """A JSON body of records, from JSON lines.

    :raises UsageError: a line is no JSON.
    """
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(f"Line {number} of the input is not JSON: {error}.") from error
    return json.dumps({"dataframe_records": records}).encode()


def with_params(body: bytes, params: dict[str, Any]) -> bytes:
    """A JSON body with further params.

    :raises UsageError: it is no JSON object.
    """
    try:
        document = json.loads(body)
    except ValueError as error:
        raise UsageError(f"The input is not JSON: {error}.") from error
    if isinstance(document, list):
        document = {"dataframe_records": document}
    if not isinstance(document, dict) or not isinstance(document.get("params") or {}, dict):
        raise UsageError("Params go with a JSON object.", 'Such as {"dataframe_split": ...}.')
    return json.dumps({**document, "params": {**(document.get("params") or {}), **params}}).encode()


def predictions(
    server: Server, body: bytes | BinaryIO, kind: str, *, is_compressed: bool = False
) -> Iterator[bytes]:
    """The answer to a body, piece by piece.

    :param body: all of it, or a file that is read as it is sent.
    :param kind: ``arrow``, ``csv``, ``json`` or ``parquet``.
    :param is_compressed: whether it is sent as gzip, by and by.
    :raises RefusedError: the server refuses it.
    :raises ServerNotReadyError: there is no answer.
    """
    address = server.address
    if not address.path.endswith("/invocations"):
        address = address.below("/invocations")
    headers = {"Content-Type": _MEDIA_TYPES[kind]}
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
        return ask(server, "POST", address, _gzip(body), headers)
    if not isinstance(body, bytes):
        size = _size_of(body)
        if size is not None:
            headers["Content-Length"] = str(size)
    return ask(server, "POST", address, body, headers)


def _size_of(file: BinaryIO) -> int | None:
    if not file.seekable():
        return None
    at = file.tell()
    size = file.seek(0, 2) - at
    file.seek(at)
    return size


def _gzip(body: bytes | BinaryIO) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    for block in (body,) if isinstance(body, bytes) else iter(lambda: body.read(_BLOCK), b""):
        if piece := compressor.compress(block):
            yield piece
    yield compressor.flush()


class RefusedError(LauncherError):
    """The server has answered, and not with 2xx: ``status`` is what it answered with."""

    status: int


def ask(
    server: Server,
    method: str,
    address: ServerAddress,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Iterator[bytes]:
    """The answer to a request, piece by piece; nothing is asked before the first is wanted.

    :raises RefusedError: the status is not 2xx.
    :raises ServerNotReadyError: there is no answer.
    """
    given = {} if server.token is None else {"Authorization": f"Bearer {server.token}"}
    connection = address.connection(server.timeout, server.context())
    with closing(connection):
        try:
            # Who refuses a large body answers before it is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, address.target, body, {**given, **(headers or {})})
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise _refusal(answer)
            while piece := answer.read(_BLOCK):
                yield piece
        except TimeoutError as error:
            raise ServerNotReadyError(
                f"{server.address} has not answered within {server.timeout:g} s.",
                "Give it more time with --timeout.",
            ) from error
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise ServerNotReadyError(
                f"Nothing listens at {server.address}.", "See what is served: launcher ps"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ServerNotReadyError(f"No answer of {server.address}: {reason}.") from error


def _refusal(answer: http.client.HTTPResponse) -> RefusedError:
    text = answer.read(_MOST_READ).decode("utf-8", "replace")
    said = f"The server refuses it: {answer.status} {answer.reason}: {_message_of(text)}"
    request_id = answer.getheader("X-Request-Id")
    hints = {401: "Give the token with --token-file.", 413: "Send fewer rows at a time."}
    error = RefusedError(
        said + (f" (request {request_id})" if request_id else ""), hints.get(answer.status)
    )
    error.status = answer.status
    return error


def _message_of(text: str) -> str:
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    # MLflow's form, the Open Inference Protocol's, OpenAI's.
    for name in ("message", "error", "detail"):
        if isinstance(document, dict) and document.get(name):
            document = document[name]
            if isinstance(document, dict):
                document = document.get("message", document)
    return " ".join(str(document).split())[:_LONGEST_MESSAGE]
