"""Models in Hadoop's file systems, as MLflow's `hdfs:` and `viewfs:` artifacts: through pyarrow.

pyarrow loads Hadoop's own client library, libhdfs, which starts a Java machine in this process.
https://arrow.apache.org/docs/python/filesystems.html#hadoop-distributed-file-system-hdfs
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from envs.extras import how_to_install
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.stores.objects import ObjectStore
from launcher.artifacts.uris import redact


def open_hadoop_store(uri: str) -> ObjectStore:
    """Return the store for `hdfs://HOST:PORT/path`, or `hdfs:///path` on the configured host.

    `MLFLOW_KERBEROS_USER`, `MLFLOW_KERBEROS_TICKET_CACHE` and `MLFLOW_PYARROW_EXTRA_CONF` count.

    :raises ModelURIError: it is of another form, a package or Hadoop's library is missing, or the
        host does not answer.
    """
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import HadoopFileSystem
    except ImportError:
        raise ModelURIError(
            f"{urlsplit(uri).scheme}: URIs need the package pyarrow, which is not installed.",
            f"Install it: {how_to_install('hdfs')}",
        ) from None
    location = redact(uri).rstrip("/")
    try:
        filesystem = HadoopFileSystem(**connection_options(uri))
    except OSError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelURIError(
            f"{location!r} cannot be reached ({lines[0][:300]}).",
            "Set HADOOP_HOME (or ARROW_LIBHDFS_DIR), JAVA_HOME and CLASSPATH (what `hadoop "
            "classpath --glob` prints), as for MLflow, and check the address.",
        ) from None
    wrapped: Any = ArrowFSWrapper(filesystem, skip_instance_cache=True, use_listings_cache=False)
    # Not urlsplit's path: '#' and '?' are ordinary in names.
    return ObjectStore(wrapped, "/" + uri.partition("://")[2].partition("/")[2], location)


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
