"""The server's configuration: one JSON file, written by the launcher.

The launcher has read the YAML of the model; here everything is plain JSON, so that the server
needs no YAML parser. Unknown keys are ignored and missing ones have defaults, so that a launcher
and a server of neighbouring versions understand each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, TypeVar, Union

Part = TypeVar("Part")

# The flavor that a model is served as: by its `loader_module`, or by R.
FLAVOR = "python_function"
CRATE = "crate"
DEFAULT_MAX_BODY = 100 * 1024 * 1024
# As many rows as prove themselves.
AUTO = "auto"


class ConfigError(ValueError):
    """The configuration file cannot be read or lacks what the server cannot do without."""


class SignatureConfig(NamedTuple):
    """A model's signature as `MLmodel` has it, its JSON texts decoded; None where absent."""

    inputs: Optional[List[Dict[str, Any]]] = None
    outputs: Optional[List[Dict[str, Any]]] = None
    params: Optional[List[Dict[str, Any]]] = None


class FlavorTraits(NamedTuple):
    """What the server has to know of a flavor before it loads a model.

    `has_process` says that the model runs in a process beside the worker's: no workers can share
    it, and it has files. `keeps_values` says that tables reach the model with the values that were
    sent, not with pandas' types for them.
    """

    has_process: bool = False
    keeps_values: bool = False


_TRAITS = {CRATE: FlavorTraits(has_process=True, keeps_values=True)}


class ModelConfig(NamedTuple):
    """The model: its folder and what its `MLmodel` file says."""

    path: str = ""
    uri: Optional[str] = None
    name: Optional[str] = None
    # What clients may call it in a path, its own name first; none: the folder's.
    names: Sequence[str] = ()
    # Its version in the registry, and the aliases by which that was asked for.
    version: Optional[str] = None
    aliases: Sequence[str] = ()
    uuid: Optional[str] = None
    model_id: Optional[str] = None
    run_id: Optional[str] = None
    mlflow_version: Optional[str] = None
    utc_time_created: Optional[str] = None
    # The one that it is served as.
    flavor: str = FLAVOR
    flavors: Dict[str, Dict[str, Any]] = {}  # noqa: RUF012 - nobody changes it
    signature: Optional[SignatureConfig] = None
    is_signature_from_type_hint: bool = False
    type_hint_from_example: bool = False
    saved_input_example_info: Optional[Dict[str, Any]] = None
    metadata: Optional[Dict[str, Any]] = None

    @property
    def traits(self) -> FlavorTraits:
        """Those of its flavor."""
        return _TRAITS.get(self.flavor, FlavorTraits())

    @property
    def served_names(self) -> Sequence[str]:
        """What clients may call it, its own name first; never empty."""
        return self.names or (Path(self.path).name or "model",)


class EnvironmentConfig(NamedTuple):
    """The environment that the launcher chose for the model; `/info` reports it."""

    env_manager: Optional[str] = None
    # The day whose packages it has, `YYYY-MM-DD`; None for today's.
    as_of: Optional[str] = None
    key: Optional[str] = None
    python: Optional[str] = None
    # Where crates run: `rscript` (a path), `version`, `packages`, and whether it `is_alone`, cut
    # off from what the user has set up for their own R.
    r: Optional[Dict[str, Any]] = None


class TraceSettings(NamedTuple):
    """How requests are traced; the launcher exports what it is told of them.

    `descriptor` is a pipe to the launcher, which never blocks. `ratio` of the traces that begin
    here are sampled, and of all, unless `follows_parent`: then who has begun one decides on it.
    """

    descriptor: int
    ratio: float = 1.0
    follows_parent: bool = True


class ServerSettings(NamedTuple):
    """How to serve. Times are in seconds, sizes in bytes; None stands for no limit."""

    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 1
    threads: int = 1
    # Processors that it may use, the limits of its container included; None: look it up.
    processors: Optional[int] = None
    # Most rows that waiting requests may share in one prediction (0: each has its own; AUTO), how
    # many seconds a request that finds the model idle waits for others, and with AUTO by how much
    # the numbers of a shared prediction may differ from those of one of its own.
    max_batch_rows: Union[int, str] = 0
    batch_wait: float = 0.0
    batch_tolerance: float = 0.0
    # Predictions from arrays where they are proved to be those from tables: "auto", "on" or "off"
    # (see `scoring.direct_lane`).
    direct_lane: str = "auto"
    timeout: Optional[float] = 60.0
    graceful_timeout: float = 30.0
    max_body: int = DEFAULT_MAX_BODY
    # Bytes that all connections may hold together, from a request's first byte to the last of
    # its answer, as far as that has come from the worker whole; None: those of four largest bodies,
    # and 64 MB at least.
    max_held: Optional[int] = None
    # Bytes that a worker may take beyond what it has once it has the model; loading is not bounded.
    worker_memory: Optional[int] = None
    debug: bool = False
    # Whether it has the pages for people, at `/` and `/docs`.
    page: bool = True
    # A folder with Swagger UI's files, which the launcher brings; None: `/docs` says what to do.
    docs_viewer: Optional[str] = None
    # "auto" reads the files of known flavors without MLflow, "mlflow" leaves all to MLflow.
    loader: str = "auto"
    # Requests that may wait for a worker; one more is refused with 503.
    backlog: int = 512
    # Answers after which a worker is replaced (0: never), and by how many it may be more.
    max_requests: int = 0
    max_requests_jitter: int = 0
    # Load the model before the workers are forked; None: unless it does not survive a fork.
    preload: Optional[bool] = None
    access_log: bool = False
    log_format: str = "text"
    slow_request: Optional[float] = None
    token_file: Optional[str] = None
    tls_cert: Optional[str] = None
    tls_key: Optional[str] = None
    # Whose pages may use the server; none: its own alone.
    cors_origin: Sequence[str] = ()
    # The path of the server as a proxy's clients see it, whether the proxy takes it off or not.
    root_path: str = ""
    # The unix socket to serve on, in the place of host and port.
    uds: Optional[str] = None
    # Where workers whose model runs in a process of its own have folders for temporary files,
    # removed at their end. None: in the system's folder of temporary files.
    scratch: Optional[str] = None
    # None: requests are not traced.
    traces: Optional[TraceSettings] = None
    # What the launcher has counted so far; `/metrics` reports it.
    restarts: int = 0
    reloads: int = 0


class ServerConfig(NamedTuple):
    """All of the configuration file."""

    config_version: int = 1
    model: ModelConfig = ModelConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    server: ServerSettings = ServerSettings()
    # In an image: environment variables change the settings (see `container.variables`).
    settings_from_environment: bool = False

    @classmethod
    def read(cls, path: str) -> ServerConfig:
        """Read the configuration file.

        :raises ConfigError: it cannot be used.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError("Cannot read the configuration: {}.".format(error)) from error
        return cls.from_dict(document)

    @classmethod
    def from_dict(cls, document: Dict[str, Any]) -> ServerConfig:
        """Make the configuration from the decoded JSON.

        :raises ConfigError: it cannot be used.
        """
        if not isinstance(document, dict):
            raise ConfigError("The configuration is not a JSON object.")
        version = document.get("config_version", 1)
        if version != 1:
            raise ConfigError("Configuration version {!r} is not known here.".format(version))
        model = dict(document.get("model") or {})
        if not model.get("path"):
            raise ConfigError("The configuration names no model path.")
        model["signature"] = (
            _part(SignatureConfig, model["signature"]) if model.get("signature") else None
        )
        server = dict(document.get("server") or {})
        server["traces"] = _part(TraceSettings, server["traces"]) if server.get("traces") else None
        return cls(
            config_version=version,
            model=_part(ModelConfig, model),
            environment=_part(EnvironmentConfig, document.get("environment")),
            server=_part(ServerSettings, server),
            settings_from_environment=bool(document.get("settings_from_environment")),
        )


def _part(kind: Callable[..., Part], values: Optional[Dict[str, Any]]) -> Part:
    """Make one part, leaving out the keys that this version does not know."""
    known = kind._fields  # type: ignore[attr-defined]
    return kind(**{key: value for key, value in (values or {}).items() if key in known})
