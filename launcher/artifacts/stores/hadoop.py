"""Models in Hadoop's file systems, as MLflow's `hdfs:` and `viewfs:` artifacts: through pyarrow.

pyarrow loads Hadoop's own client library, libhdfs, which starts a Java machine in this process.
https://arrow.apache.org/docs/python/filesystems.html#hadoop-distributed-file-system-hdfs
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from envs.extras import how_to_install
from launcher.artifacts.bodies import BLOCK
from launcher.artifacts.settings import web_settings
from launcher.artifacts.source import ModelURIError, Report
from launcher.artifacts.stores.hosts import Dropped, Found, HostStore
from launcher.artifacts.transfer.download import refuse_count
from launcher.artifacts.uris import redact


def open_hadoop_store(uri: str, report: Report) -> HostStore:
    """Return the store for `hdfs://HOST:PORT/path`, or `hdfs:///path` on the configured host.

    `MLFLOW_KERBEROS_USER`, `MLFLOW_KERBEROS_TICKET_CACHE` and `MLFLOW_PYARROW_EXTRA_CONF` count.

    :raises ModelURIError: it is of another form, or pyarrow is not installed.
    """
    try:
        import pyarrow.fs  # noqa: F401
    except ImportError:
        raise ModelURIError(
            f"{urlsplit(uri).scheme}: URIs need the package pyarrow, which is not installed.",
            f"Install it: {how_to_install('hdfs')}",
        ) from None
    location = redact(uri).rstrip("/")
    options = connection_options(uri)
    # Not urlsplit's path: '#' and '?' are ordinary in names.
    root = "/" + uri.partition("://")[2].partition("/")[2]
    patience = web_settings(location).patience
    return HostStore(lambda: HadoopConnection(options, location), location, root, patience, report)


class HadoopConnection:
    """See Connection.

    :param location: what people call the model's place.
    """

    def __init__(self, options: dict[str, Any], location: str) -> None:
        from pyarrow.fs import HadoopFileSystem

        self._location = location
        with self._explained():
            self._files = HadoopFileSystem(**options)

    def look(self, path: str) -> Found | None:
        """See Connection."""
        with self._explained():
            return _found(self._files.get_file_info(path))

    def entries(self, path: str) -> Iterator[Found]:
        """See Connection."""
        from pyarrow.fs import FileSelector

        with self._explained():
            listed = self._files.get_file_info(FileSelector(path))
            refuse_count(len(listed), self._location)
            yield from filter(None, map(_found, listed))

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """See Connection."""
        with self._explained(), self._files.open_input_file(path) as file:
            file.seek(start)
            while block := file.read(BLOCK):
                yield block

    def close(self) -> None:
        """See Connection: pyarrow ends it with its last use."""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make what pyarrow raises within the block what the store knows."""
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            raise ModelURIError(
                f"{self._location!r} cannot be read ({_short(error)}).",
                "Check the path, and what that user may read.",
            ) from None
        except OSError as error:
            # Its client library, or the Java machine that this starts.
            if "unable to load" not in str(error).lower():
                raise Dropped(_short(error)) from None
            raise ModelURIError(
                f"Hadoop's client library cannot be used ({_short(error)}).",
                "Set HADOOP_HOME (or ARROW_LIBHDFS_DIR), JAVA_HOME and CLASSPATH (what `hadoop "
                "classpath --glob` prints), as for MLflow.",
            ) from None


def _found(info: Any) -> Found | None:
    """A file or a folder as pyarrow describes it; None for what is not there."""
    if not info.is_file:
        return Found(info.base_name, True) if info.type.name == "Directory" else None
    return Found(info.base_name, False, info.size, str(info.mtime_ns or ""))


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def connection_options(uri: str) -> dict[str, Any]:
    """Return pyarrow's options for a `hdfs:` or `viewfs:` URI: those that MLflow gives it.

    :raises ModelURIError: it is of another form, or a setting is.
    """
    parts = urlsplit(uri)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = "", None
    if not parts.path.startswith("/") or host == "":
        raise ModelURIError(
            f"{redact(uri)!r} is not a {parts.scheme}: URI.",
            f"Write {parts.scheme}://HOST:PORT/path/of/the/model, or {parts.scheme}:///path for "
            "the host of Hadoop's configuration.",
        )
    pairs = [each.partition("=") for each in _listed("MLFLOW_PYARROW_EXTRA_CONF")]
    if any(not equals for _, equals, _ in pairs):
        raise ModelURIError(
            "MLFLOW_PYARROW_EXTRA_CONF is not a list of NAME=VALUE.", "Write them with commas."
        )
    return {
        "host": f"{parts.scheme}://{host}" if host else "default",
        "port": port or 0,
        "user": os.environ.get("MLFLOW_KERBEROS_USER"),
        "kerb_ticket": os.environ.get("MLFLOW_KERBEROS_TICKET_CACHE"),
        "extra_conf": {name: value for name, _, value in pairs} or None,
    }


def _listed(name: str) -> list[str]:
    return [each for each in os.environ.get(name, "").split(",") if each]
