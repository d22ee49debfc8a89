"""The settings that MLflow's own client reads, from the environment and its credentials file.

https://mlflow.org/docs/latest/api_reference/python_api/mlflow.environment_variables.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from launcher.artifacts.http import Patience, Settings
from launcher.artifacts.source import ModelURIError
from launcher.artifacts.uris import origin_of

Number = TypeVar("Number", int, float)


def tracking_uri() -> str:
    """Return the tracking URI, as MLflow would find it from the current folder.

    `MLFLOW_TRACKING_URI`; else the folder `mlruns` if experiments are in it, else the database
    `mlflow.db`.

    :raises ModelURIError: there is none of these.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        return chosen
    if any(Path("mlruns").glob("[0-9]*/meta.yaml")):
        return "mlruns"
    if Path("mlflow.db").is_file():
        return "sqlite:///mlflow.db"
    raise ModelURIError(
        "There is no tracking server to ask: MLFLOW_TRACKING_URI is not set, and the current "
        "folder has neither mlflow.db nor mlruns.",
        "Set MLFLOW_TRACKING_URI, for example to http://HOST:5000.",
    )


def registry_uri() -> str:
    """Return the registry's URI: `MLFLOW_REGISTRY_URI`, else the tracking URI."""
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri()


def without_credentials(url: str) -> tuple[str, str | None, str | None]:
    """Return an http(s) URL without user name and password, and these two (decoded)."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    username, _, password = userinfo.partition(":")
    return parts._replace(netloc=host).geturl(), unquote(username), unquote(password)


def server_settings(url: str) -> Settings:
    """Return how to talk to the tracking server (or registry) at `url`.

    :raises ModelURIError: a setting cannot be right.
    """
    bare, username, password = without_credentials(url)
    if username is None:
        username, password = _credentials()
    workspace = os.environ.get("MLFLOW_WORKSPACE")
    return Settings(
        origin=origin_of(bare),
        username=username,
        password=password,
        token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
        headers={"X-MLFLOW-WORKSPACE": workspace} if workspace else None,
        verify=_verify(),
        client_certificate=_existing("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        patience=_patience(),
    )


def web_settings(url: str) -> Settings:
    """Return how to talk to any other web server: its credentials are those in `url`."""
    bare, username, password = without_credentials(url)
    return Settings(
        origin=origin_of(bare), username=username, password=password, patience=_patience()
    )


def flag(name: str) -> bool:
    """Return a setting that is true or false.

    :raises ModelURIError: it is neither.
    """
    value = os.environ.get(name, "").lower()
    if value not in ("", "0", "1", "true", "false"):
        raise ModelURIError(f"{name} is {value!r}.", "Set it to true or false.")
    return value in ("1", "true")


def _credentials() -> tuple[str | None, str | None]:
    """Return user name and password from the environment, else from ~/.mlflow/credentials."""
    username = os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if username and password:
        return username, password
    import configparser

    file = configparser.ConfigParser(interpolation=None)
    file.read(Path("~/.mlflow/credentials").expanduser())
    username = username or file.get("mlflow", "mlflow_tracking_username", fallback=None)
    password = password or file.get("mlflow", "mlflow_tracking_password", fallback=None)
    return (username, password) if username and password else (None, None)


def _verify() -> bool | str:
    if flag("MLFLOW_TRACKING_INSECURE_TLS"):
        if os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
            raise ModelURIError(
                "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH are both set.",
                "Unset one of them: the first says that no certificate is checked.",
            )
        return False
    return _existing("MLFLOW_TRACKING_SERVER_CERT_PATH") or True


def _existing(name: str) -> str | None:
    value = os.environ.get(name)
    if value and not Path(value).exists():
        raise ModelURIError(f"{name} names {value!r}, which is not there.", "Correct the path.")
    return value or None


def _patience() -> Patience:
    default = Patience()
    timeout = _number("MLFLOW_HTTP_REQUEST_TIMEOUT", float)
    retries = _number("MLFLOW_HTTP_REQUEST_MAX_RETRIES", int)
    backoff = _number("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", float)
    return Patience(
        read_timeout=default.read_timeout if timeout is None else timeout,
        retries=default.retries if retries is None else retries,
        backoff=default.backoff if backoff is None else backoff,
    )


def _number(name: str, kind: Callable[[str], Number]) -> Number | None:
    value = os.environ.get(name)
    if not value:
        return None
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or number < 0:
        raise ModelURIError(f"{name} is {value!r}, which is no number.", "Correct or unset it.")
    return number
