"""A local SQLite database of MLflow (`sqlite:///mlflow.db`), read without MLflow.

Only columns that MLflow 1.x to 3.x have had; the file is opened read-only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from launcher.artifacts.source import ModelURIError
from launcher.artifacts.tracking.tracking import (
    LoggedModel,
    Run,
    Version,
    no_alias,
    no_logged_model,
    no_registered_model,
    no_run,
    no_version,
    nothing_in_stage,
    require_ready,
)

RUN_ENDED = ("FINISHED", "FAILED", "KILLED")
MODEL_READY = 2
BUSY_SECONDS = 10.0
"""How long to wait while MLflow writes."""


class DatabaseStore:
    """The database in the file `path`."""

    def __init__(self, path: Path) -> None:
        self.address = f"sqlite:///{path}"
        if not path.is_file():
            raise ModelURIError(
                f"There is no database {str(path)!r}.",
                "Set MLFLOW_TRACKING_URI to the store that the model was logged to.",
            )
        self._path = path

    def run(self, run_id: str) -> Run:
        """See TrackingStore."""
        rows = self._rows(
            "SELECT artifact_uri, experiment_id, status, end_time FROM runs WHERE run_uuid = ?",
            run_id,
        )
        if not rows:
            raise no_run(run_id, self.address)
        uri, experiment, status, end = rows[0]
        return Run(run_id, experiment, uri, f"run {run_id} {end}" if status in RUN_ENDED else "")

    def models_of_run(self, run: Run) -> Sequence[LoggedModel]:
        """See TrackingStore."""
        return self._logged_models("source_run_id", run.run_id)

    def logged_model(self, model_id: str) -> LoggedModel:
        """See TrackingStore."""
        found = self._logged_models("model_id", model_id)
        if not found:
            raise no_logged_model(model_id, self.address)
        return found[0]

    def version(self, name: str, version: str) -> Version:
        """See TrackingStore."""
        rows = self._rows(
            "SELECT version, status, creation_time, source, current_stage, "
            f"{self._storage_location()} FROM model_versions WHERE name = ? AND version = ?",
            name,
            str(int(version)),
        )
        if not rows or rows[0][4] == "Deleted_Internal":
            raise no_version(name, version, self._versions(name, None))
        number, status, created, source, _, storage = rows[0]
        require_ready(status, name, version)
        return Version(name, number, storage or source, f"version {name} {number} {created}")

    def version_of_alias(self, name: str, alias: str) -> str:
        """See TrackingStore."""
        self._require_model(name)
        rows = self._aliases(name)
        for known, version in rows:
            if known == alias:
                return version
        if alias.lower() == "latest":
            return self.latest_version(name, None)
        raise no_alias(name, alias, [known for known, _ in rows])

    def latest_version(self, name: str, stage: str | None) -> str:
        """See TrackingStore."""
        versions = self._versions(name, stage)
        if not versions:
            raise nothing_in_stage(name, stage)
        return str(max(int(version) for version in versions))

    def _logged_models(self, column: str, value: str) -> list[LoggedModel]:
        if not self._columns("logged_models"):  # A database before MLflow 3.
            return []
        rows = self._rows(
            "SELECT model_id, name, artifact_location, status, creation_timestamp_ms FROM "
            f"logged_models WHERE {column} = ? AND lifecycle_stage = 'active' "
            "ORDER BY creation_timestamp_ms DESC",
            value,
        )
        return [
            LoggedModel(
                model_id,
                name,
                location,
                f"model {model_id} {created}" if int(status) == MODEL_READY else "",
            )
            for model_id, name, location, status, created in rows
        ]

    def _versions(self, name: str, stage: str | None) -> list[str]:
        self._require_model(name)
        rows = self._rows("SELECT version, current_stage FROM model_versions WHERE name = ?", name)
        return [
            number
            for number, current in rows
            if stage in (None, current) and current != "Deleted_Internal"
        ]

    def _aliases(self, name: str) -> list[tuple[str, ...]]:
        if not self._columns("registered_model_aliases"):  # Before MLflow 2.3.
            return []
        return self._rows(
            "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name
        )

    def _require_model(self, name: str) -> None:
        if not self._rows("SELECT name FROM registered_models WHERE name = ?", name):
            raise no_registered_model(name, self.address)

    def _storage_location(self) -> str:
        has_it = "storage_location" in self._columns("model_versions")
        return "storage_location" if has_it else "NULL"

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self._rows(f"PRAGMA table_info({table})")]

    def _rows(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        """Return the rows, every value that is not NULL as text."""
        try:
            # A connection for each look-up: none is open while a model is being fetched.
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=BUSY_SECONDS
            )
            try:
                rows = connection.execute(statement, values).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise ModelURIError(
                f"{self.address!r} cannot be read as an MLflow database: {error}.",
                "Check MLFLOW_TRACKING_URI.",
            ) from None
        return [tuple("" if value is None else str(value) for value in row) for row in rows]
