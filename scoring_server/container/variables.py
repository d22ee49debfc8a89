"""The server's settings as environment variables, for a container that no launcher starts.

``LAUNCHER_SERVE_NAME`` sets what ``launcher serve --name`` does, with the same units; MLflow's
variables and ``PORT`` (Knative, Cloud Run) come after it.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

from ..config import AUTO, ConfigError, ServerConfig, ServerSettings
from .cpu_limits import available_cpus
from .sizes import parse_size

PREFIX = "LAUNCHER_SERVE_"
# Names that come after the prefixed one.
_OTHERS: Dict[str, Tuple[str, ...]] = {
    "host": ("MLFLOW_HOST",),
    "port": ("MLFLOW_PORT", "PORT"),
    "timeout": ("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT",),
    "workers": ("MLFLOW_MODELS_WORKERS",),
}
# What the launcher counts and finds out, and no one sets.
_NOT_SETTINGS = ("processors", "traces", "restarts", "reloads")
_SIZES = ("max_body", "max_held", "worker_memory")
_CHOICES = {
    "direct_lane": ("auto", "on", "off"),
    "loader": ("auto", "mlflow"),
    "log_format": ("text", "json"),
}


def with_variables(config: ServerConfig, environ: Mapping[str, str]) -> ServerConfig:
    """The configuration with what the variables say, where it asks for them.

    :raises ConfigError: a variable's value is none of its kind.
    """
    if not config.settings_from_environment:
        return config
    changes: Dict[str, Any] = {"processors": available_cpus()}
    for field, kind in ServerSettings.__annotations__.items():
        if field in _NOT_SETTINGS:
            continue
        for name in (PREFIX + field.upper(), *_OTHERS.get(field, ())):
            if environ.get(name):
                changes[field] = _value(field, str(kind), name, environ[name])
                break
    # The name that KServe asks for it by; the model's own stay.
    asked = environ.get(PREFIX + "NAME")
    model = config.model
    if asked:
        model = model._replace(names=(asked, *model.names))
    return config._replace(model=model, server=config.server._replace(**changes))


def _value(field: str, kind: str, name: str, text: str) -> Any:
    if field == "workers" and text == "auto":
        return available_cpus()
    if field == "max_batch_rows":
        read: Callable[[str], Any] = _rows
    elif field in _SIZES:
        read = parse_size
    elif field == "cors_origin":
        read = _words
    elif "bool" in kind:
        read = _truth
    elif "float" in kind:
        read = _number
    else:
        read = int if "int" in kind else str
    try:
        value = read(text)
        if field == "workers" and value < 1:
            raise ValueError("below 1")
        if value not in _CHOICES.get(field, (value,)):
            raise ValueError("none of the choices")
    except ValueError as error:
        raise ConfigError(
            "The variable {} is {!r}, which is no value of --{}.".format(
                name, text, field.replace("_", "-")
            )
        ) from error
    if field == "batch_wait":
        return value / 1000  # milliseconds, as the option has it
    return None if field == "timeout" and not value else value


def _words(text: str) -> Tuple[str, ...]:
    return tuple(text.split())


def _rows(text: str) -> Any:
    if text == AUTO:
        return AUTO
    if int(text) < 0:
        raise ValueError("no number of rows")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("no number from 0 up")
    return value


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("neither true nor false")
