"""What a tracking server or local store knows of runs and models, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from launcher.artifacts.local import name_some
from launcher.artifacts.source import ModelURIError

STAGES = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
"""The stages of MLflow's registry, deprecated since MLflow 2.9, by their names in lower case."""


@dataclass(frozen=True)
class Run:
    """A run.

    :param stamp: identifies what is finished about it, "" while it goes on.
    """

    run_id: str
    experiment_id: str
    artifact_uri: str
    stamp: str


@dataclass(frozen=True)
class LoggedModel:
    """A logged model of MLflow 3.

    :param stamp: identifies it, "" until all of it is there.
    """

    model_id: str
    name: str
    artifact_uri: str
    stamp: str


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    :param location: where its files are.
    :param stamp: identifies it.
    """

    name: str
    version: str
    location: str
    stamp: str


class TrackingStore(Protocol):
    """Looks things up. Every method raises ModelURIError when there is no such thing."""

    address: str
    """For messages: without password."""

    def run(self, run_id: str) -> Run:
        """Return the run."""

    def models_of_run(self, run: Run) -> Sequence[LoggedModel]:
        """Return the logged models of the run, the newest first; none before MLflow 3."""

    def logged_model(self, model_id: str) -> LoggedModel:
        """Return the logged model."""

    def version(self, name: str, version: str) -> Version:
        """Return one version of the registered model `name`."""

    def version_of_alias(self, name: str, alias: str) -> str:
        """Return the number of the version that the alias is set to."""

    def latest_version(self, name: str, stage: str | None) -> str:
        """Return the highest version, in the stage if one is given (with its proper name)."""


def no_run(run_id: str, address: str) -> ModelURIError:
    """Return the error for a run that is not there."""
    return ModelURIError(
        f"There is no run {run_id!r} in {address!r}.",
        "Check the ID, and that MLFLOW_TRACKING_URI names the store that it was logged to.",
    )


def no_logged_model(model_id: str, address: str) -> ModelURIError:
    """Return the error for a logged model that is not there."""
    return ModelURIError(
        f"There is no logged model {model_id!r} in {address!r}.",
        "Check the ID, and that MLFLOW_TRACKING_URI names the store that it was logged to; "
        "servers before MLflow 3 have no logged models.",
    )


def no_registered_model(name: str, address: str) -> ModelURIError:
    """Return the error for a registered model that is not there."""
    return ModelURIError(
        f"There is no registered model {name!r} in {address!r}.",
        "Check the name, and that MLFLOW_REGISTRY_URI (or MLFLOW_TRACKING_URI) names its registry.",
    )


def no_version(name: str, version: str, known: Sequence[str]) -> ModelURIError:
    """Return the error for a version that is not there.

    :param known: those that are.
    """
    there = f"It has: {name_some(sorted(known, key=int))}." if known else "It has no versions."
    return ModelURIError(f"The registered model {name!r} has no version {version}.", there)


def no_alias(name: str, alias: str, known: Sequence[str]) -> ModelURIError:
    """Return the error for an alias that is not set.

    :param known: those that are.
    """
    there = f"Its aliases: {name_some(sorted(known))}." if known else "No alias is set on it."
    return ModelURIError(
        f"The alias {alias!r} of the registered model {name!r} is not set.",
        f"{there} MLflow's set_registered_model_alias sets one.",
    )


def nothing_in_stage(name: str, stage: str | None) -> ModelURIError:
    """Return the error for a model without versions (in the stage)."""
    if stage is None:
        return no_version(name, "at all", [])
    return ModelURIError(
        f"The registered model {name!r} has no version in the stage {stage!r}.",
        f"Give a version (models:/{name}/NUMBER), or move one into the stage.",
    )


def canonical_stage(name: str, suffix: str) -> str:
    """Return the stage's proper name.

    :raises ModelURIError: there is no such stage.
    """
    try:
        return STAGES[suffix.lower()]
    except KeyError:
        raise ModelURIError(
            f"{suffix!r} in 'models:/{name}/{suffix}' is neither a version, nor 'latest', nor a "
            "stage.",
            f"An alias is written models:/{name}@{suffix}; the stages are "
            f"{', '.join(STAGES.values())}.",
        ) from None


def require_ready(status: str, name: str, version: str) -> None:
    """Check that the version's files are there.

    :raises ModelURIError: its `status` says that they are not.
    """
    if status not in ("READY", ""):
        raise ModelURIError(
            f"Version {version} of {name!r} is not ready: {status}.",
            "Wait until its registration has ended, or register it again.",
        )
