"""A local folder `mlruns`: MLflow's file store, read without MLflow.

ROOT/EXPERIMENT/RUN/meta.yaml, ROOT/EXPERIMENT/models/m-ID/meta.yaml,
ROOT/models/NAME/version-N/meta.yaml, ROOT/models/NAME/aliases/ALIAS (the version's number).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envs.errors import EnvError
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

META = "meta.yaml"
RUN_ENDED = (3, 4, 5)
"""The numbers of FINISHED, FAILED and KILLED."""
MODEL_READY = 2


class FolderStore:
    """The file store in `root`."""

    def __init__(self, root: Path) -> None:
        self.address = str(root)
        self._root = root
        if not root.is_dir():
            raise ModelURIError(
                f"There is no folder {str(root)!r} with runs in it.",
                "Set MLFLOW_TRACKING_URI to the store that the model was logged to.",
            )

    def run(self, run_id: str) -> Run:
        """See TrackingStore."""
        for experiment in self._experiments():
            meta = _meta(experiment, run_id)
            if meta is not None:
                ended = meta.get("status") in RUN_ENDED
                stamp = f"run {run_id} {meta.get('end_time')}" if ended else ""
                return Run(run_id, experiment.name, str(meta["artifact_uri"]), stamp)
        raise no_run(run_id, self.address)

    def models_of_run(self, run: Run) -> Sequence[LoggedModel]:
        """See TrackingStore."""
        models = self._root / run.experiment_id / "models"
        found = [_meta(models, path.name) for path in models.iterdir()] if models.is_dir() else []
        of_run = [meta for meta in found if meta and meta.get("source_run_id") == run.run_id]
        of_run.sort(key=lambda meta: -int(meta.get("creation_timestamp", 0)))
        return [_logged_model(meta) for meta in of_run]

    def logged_model(self, model_id: str) -> LoggedModel:
        """See TrackingStore."""
        for experiment in self._experiments():
            meta = _meta(experiment / "models", model_id)
            if meta is not None:
                return _logged_model(meta)
        raise no_logged_model(model_id, self.address)

    def version(self, name: str, version: str) -> Version:
        """See TrackingStore."""
        folder = self._registered(name)
        meta = _meta(folder, f"version-{int(version)}")
        if meta is None or str(meta.get("current_stage")) == "Deleted_Internal":
            raise no_version(name, version, self._versions(folder))
        require_ready(str(meta.get("status") or ""), name, version)
        location = meta.get("storage_location") or meta.get("source")
        stamp = f"version {name} {version} {meta.get('creation_timestamp')}"
        return Version(name, str(int(version)), str(location), stamp)

    def version_of_alias(self, name: str, alias: str) -> str:
        """See TrackingStore."""
        aliases = self._registered(name) / "aliases"
        known = [path.name for path in aliases.iterdir()] if aliases.is_dir() else []
        if alias in known:
            return (aliases / alias).read_text().strip()
        if alias.lower() == "latest":
            return self.latest_version(name, None)
        raise no_alias(name, alias, known)

    def latest_version(self, name: str, stage: str | None) -> str:
        """See TrackingStore."""
        folder = self._registered(name)
        numbers = [
            int(number)
            for number in self._versions(folder)
            if stage in (None, (_meta(folder, f"version-{number}") or {}).get("current_stage"))
        ]
        if not numbers:
            raise nothing_in_stage(name, stage)
        return str(max(numbers))

    def _registered(self, name: str) -> Path:
        folder = self._root / "models" / name
        if "/" in name or name in (".", "..") or not (folder / META).is_file():
            raise no_registered_model(name, self.address)
        return folder

    @staticmethod
    def _versions(folder: Path) -> list[str]:
        found = folder.glob(f"version-*/{META}")
        return [path.parent.name.partition("-")[2] for path in found]

    def _experiments(self) -> list[Path]:
        return [path.parent for path in sorted(self._root.glob(f"*/{META}"))]


def _logged_model(meta: dict[str, Any]) -> LoggedModel:
    ready = meta.get("status") == MODEL_READY
    stamp = f"model {meta['model_id']} {meta.get('creation_timestamp')}" if ready else ""
    return LoggedModel(
        str(meta["model_id"]), str(meta.get("name", "")), str(meta["artifact_location"]), stamp
    )


def _meta(parent: Path, name: str) -> dict[str, Any] | None:
    """Return the decoded meta.yaml in the folder `name`, None where there is none."""
    path = parent / name / META
    if "/" in name or name in ("", ".", "..") or not path.is_file():
        return None
    from envs.disk.yaml_file import read_yaml

    try:
        content = read_yaml(path)
    except EnvError as error:
        raise ModelURIError(error.message, "Restore it, or log the model again.") from error
    if not isinstance(content, dict):
        raise ModelURIError(f"{str(path)!r} is damaged.", "Restore it, or log the model again.")
    return content
