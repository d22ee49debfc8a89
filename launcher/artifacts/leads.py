"""From `runs:`, `models:` and other URIs to the place where the files are."""

from __future__ import annotations

from launcher.artifacts import local
from launcher.artifacts.http import Client
from launcher.artifacts.settings import (
    registry_uri,
    server_settings,
    tracking_uri,
    without_credentials,
)
from launcher.artifacts.source import ModelURIError, Report
from launcher.artifacts.tracking.tracking import LoggedModel, TrackingStore, canonical_stage
from launcher.artifacts.transfer.fetching import Lead
from launcher.artifacts.uris import (
    RegistryURI,
    parse_models_uri,
    parse_runs_uri,
    redact,
    scheme_of,
)

LONGEST_CHAIN = 4


class Stores:
    """The tracking store and the registry, opened when they are first asked."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._opened: dict[str, TrackingStore] = {}

    @property
    def tracking(self) -> TrackingStore:
        """The store for runs and logged models.

        :raises ModelURIError: there is none, or it does not answer.
        """
        return self._open(tracking_uri())

    @property
    def registry(self) -> TrackingStore:
        """The store for registered models.

        :raises ModelURIError: there is none, or it does not answer.
        """
        return self._open(registry_uri())

    def _open(self, uri: str) -> TrackingStore:
        if uri not in self._opened:
            self._opened[uri] = open_tracking_store(uri, self._report)
        return self._opened[uri]


def open_tracking_store(uri: str, report: Report) -> TrackingStore:
    """Return the store at a tracking or registry URI.

    :raises ModelURIError: there is none, or it does not answer.
    """
    scheme = scheme_of(uri)
    if scheme in ("http", "https"):
        from launcher.artifacts.tracking.rest import RestStore

        return RestStore(without_credentials(uri)[0], Client(server_settings(uri), report))
    if scheme.partition("+")[0] == "sqlite":
        from urllib.parse import unquote

        from launcher.artifacts.tracking.database import DatabaseStore

        # sqlite:///relative, sqlite:////absolute (SQLAlchemy's form)
        path = unquote(uri.partition("://")[2].partition("?")[0])
        return DatabaseStore(local.expand(path[1:]))
    if scheme in ("", "file") and uri not in ("databricks", "databricks-uc", "uc"):
        from launcher.artifacts.tracking.mlruns import FolderStore

        return FolderStore(local.path_of(uri))
    raise ModelURIError(
        f"The tracking URI {redact(uri)!r} is of a kind that is not supported.",
        "Give a server (http://…), sqlite:///file.db or a folder; for another database, the "
        "address of the tracking server that uses it.",
    )


def follow(uri: str, stores: Stores, depth: int = 0) -> Lead:
    """Return where the files of `uri` are, asking the stores if it takes that.

    :raises ModelURIError: there is none, or it does not answer.
    """
    if depth > LONGEST_CHAIN:
        raise ModelURIError(f"{uri!r} leads in a circle.", "Register the model again.")
    scheme = scheme_of(uri)
    if scheme == "runs":
        lead = _follow_run(uri, stores)
    elif scheme == "models":
        lead = _follow_model(uri, parse_models_uri(uri), stores)
    else:
        return Lead(uri, uri)
    if scheme_of(lead.location) in ("runs", "models"):
        found = follow(lead.location, stores, depth + 1)
        return Lead(
            uri, found.location, found.stamp, lead.name, lead.version, lead.immutable, found.around
        )
    return lead


def _follow_run(uri: str, stores: Stores) -> Lead:
    parsed = parse_runs_uri(uri)
    run = stores.tracking.run(parsed.run_id)
    first, _, rest = parsed.path.partition("/")
    models = stores.tracking.models_of_run(run)
    for model in models:
        if first and model.name == first:
            return Lead(
                uri, below(model.artifact_uri, rest), model.stamp, immutable=bool(model.stamp)
            )
    return Lead(
        uri,
        below(run.artifact_uri, parsed.path),
        run.stamp,
        immutable=bool(run.stamp),
        around=(run.artifact_uri, tuple(dict.fromkeys(model.name for model in models))),
    )


def _follow_model(uri: str, parsed: RegistryURI, stores: Stores) -> Lead:
    if parsed.model_id is not None:
        model: LoggedModel = stores.tracking.logged_model(parsed.model_id)
        return Lead(uri, model.artifact_uri, model.stamp, immutable=bool(model.stamp))
    name, version = parsed.name, parsed.version
    if parsed.alias is not None:
        version = stores.registry.version_of_alias(name, parsed.alias)
    elif version is None:
        stage = canonical_stage(name, parsed.stage) if parsed.stage is not None else None
        version = stores.registry.latest_version(name, stage)
    found = stores.registry.version(name, version)
    return Lead(
        uri,
        found.location,
        found.stamp,
        name,
        found.version,
        immutable=parsed.version is not None,
    )


def below(location: str, path: str) -> str:
    """Return the place `path` below the artifact URI `location`."""
    if scheme_of(location) == "file":
        location = str(local.path_of_file_uri(location))
    return f"{location.rstrip('/')}/{path}" if path else location
