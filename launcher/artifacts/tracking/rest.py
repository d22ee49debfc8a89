"""A tracking server and registry over MLflow's REST API.

https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from launcher.artifacts.http import Client, HTTPStatusError, not_as_mlflow
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
from launcher.artifacts.uris import origin_of

API = "/api/2.0/mlflow"
MOST_PAGES = 1_000
"""Pages of one answer that are asked for."""
TERMINATED = ("FINISHED", "FAILED", "KILLED")


Method = TypeVar("Method", bound=Callable[..., Any])


def _of_mlflow(method: Method) -> Method:
    """Say of an answer of another form that no MLflow server gives it."""

    @functools.wraps(method)
    def read(store: RestStore, *arguments: Any) -> Any:
        try:
            return method(store, *arguments)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise not_as_mlflow(store.address) from error

    return cast("Method", read)


class RestStore:
    """A server at `address` (with its path prefix, without password)."""

    def __init__(self, address: str, client: Client) -> None:
        self.address = address.rstrip("/")
        self._client = client

    @_of_mlflow
    def run(self, run_id: str) -> Run:
        """See TrackingStore."""
        info = self._get("runs/get", {"run_id": run_id}, no_run(run_id, self.address))["run"][
            "info"
        ]
        finished = info.get("status") in TERMINATED
        stamp = f"run {run_id} {info.get('end_time')}" if finished else ""
        return Run(run_id, str(info.get("experiment_id", "")), str(info["artifact_uri"]), stamp)

    @_of_mlflow
    def models_of_run(self, run: Run) -> Sequence[LoggedModel]:
        """See TrackingStore."""
        body: dict[str, Any] = {
            "experiment_ids": [run.experiment_id],
            "filter": f"source_run_id = '{run.run_id}'",
        }
        found: list[LoggedModel] = []
        for _ in range(MOST_PAGES):
            try:
                page = self._client.post_json(f"{self.address}{API}/logged-models/search", body)
            except HTTPStatusError as error:
                if error.status in (404, 405):  # A server before MLflow 3.
                    return found
                raise explained(error, self.address) from None
            for model in page.get("models", []):
                # Checked here too: a server may not know the filter.
                if model["info"].get("source_run_id") == run.run_id:
                    found.append(self._logged_model(model["info"]))
            if not page.get("next_page_token"):
                break
            body = {**body, "page_token": page["next_page_token"]}
        return found

    @_of_mlflow
    def logged_model(self, model_id: str) -> LoggedModel:
        """See TrackingStore."""
        missing = no_logged_model(model_id, self.address)
        try:
            found = self._client.get_json(f"{self.address}{API}/logged-models/{model_id}")
        except HTTPStatusError as error:
            # Servers before MLflow 3 do not know the address: 404 without a code.
            if error.status in (400, 404):
                raise missing from None
            raise explained(error, self.address) from None
        return self._logged_model(found["model"]["info"])

    @_of_mlflow
    def version(self, name: str, version: str) -> Version:
        """See TrackingStore."""
        asked = {"name": name, "version": version}
        try:
            found = self._client.get_json(f"{self.address}{API}/model-versions/get", asked)
        except HTTPStatusError as error:
            if error.status == 404 and error.code:
                raise no_version(name, version, self._versions(name)) from None
            raise explained(error, self.address) from None
        info = found["model_version"]
        require_ready(info.get("status", ""), name, version)
        location = self._get("model-versions/get-download-uri", asked)["artifact_uri"]
        stamp = f"version {name} {version} {info.get('creation_timestamp')}"
        return Version(name, str(info["version"]), str(location), stamp)

    @_of_mlflow
    def version_of_alias(self, name: str, alias: str) -> str:
        """See TrackingStore."""
        try:
            found = self._client.get_json(
                f"{self.address}{API}/registered-models/alias", {"name": name, "alias": alias}
            )
        except HTTPStatusError as error:
            # 400 where the model is there and the alias is not.
            if error.status in (400, 404) and error.code:
                raise no_alias(name, alias, self._aliases(name)) from None
            raise explained(error, self.address) from None
        return str(found["model_version"]["version"])

    @_of_mlflow
    def latest_version(self, name: str, stage: str | None) -> str:
        """See TrackingStore."""
        body = {"name": name, **({"stages": [stage]} if stage else {})}
        try:
            found = self._client.post_json(
                f"{self.address}{API}/registered-models/get-latest-versions", body
            )
        except HTTPStatusError as error:
            if error.status == 404 and error.code:
                raise no_registered_model(name, self.address) from None
            raise explained(error, self.address) from None
        versions = [int(version["version"]) for version in found.get("model_versions", [])]
        if not versions:
            raise nothing_in_stage(name, stage)
        return str(max(versions))

    def _logged_model(self, info: Mapping[str, Any]) -> LoggedModel:
        ready = info.get("status") == "LOGGED_MODEL_READY"
        stamp = f"model {info['model_id']} {info.get('creation_timestamp_ms')}"
        return LoggedModel(
            str(info["model_id"]),
            str(info.get("name", "")),
            str(info["artifact_uri"]),
            stamp if ready else "",
        )

    def _versions(self, name: str) -> list[str]:
        self._registered_model(name)
        # No quoting exists in MLflow's filters but the choice of the quote.
        quote = '"' if "'" in name else "'"
        found = self._get("model-versions/search", {"filter": f"name = {quote}{name}{quote}"})
        return [str(version["version"]) for version in found.get("model_versions", [])]

    def _aliases(self, name: str) -> list[str]:
        return [str(alias["alias"]) for alias in self._registered_model(name).get("aliases", [])]

    def _registered_model(self, name: str) -> dict[str, Any]:
        missing = no_registered_model(name, self.address)
        found: dict[str, Any] = self._get("registered-models/get", {"name": name}, missing)
        return found.get("registered_model", {})  # type: ignore[no-any-return]

    def _get(
        self, path: str, params: Mapping[str, str], missing: ModelURIError | None = None
    ) -> Any:
        try:
            return self._client.get_json(f"{self.address}{API}/{path}", params)
        except HTTPStatusError as error:
            # Invalid IDs are answered with 400. What is no MLflow server has no error code.
            if missing is not None and error.status in (400, 404) and error.code:
                raise missing from None
            raise explained(error, self.address) from None


def explained(error: HTTPStatusError, url: str) -> ModelURIError:
    """Return what to tell a person about an answer that was not expected."""
    origin = origin_of(url)
    if error.status == 401:
        return ModelURIError(
            f"The server at {origin!r} wants to know who asks (401).",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; "
            "if they are set, they are wrong.",
        )
    if error.status == 403:
        return ModelURIError(
            f"The server at {origin!r} does not permit this (403): {error.text or 'no reason'}.",
            "Ask for READ permission on the model (or experiment), or use other credentials.",
        )
    if "serve-artifacts" in error.text:
        return ModelURIError(
            f"The server at {origin!r} does not hand out artifacts: it runs with "
            "--no-serve-artifacts.",
            "Start it without that option, or give the URI of the store itself (s3://…).",
        )
    if error.status == 404 and not error.code:
        return ModelURIError(
            f"The server at {origin!r} does not know MLflow's REST API (404).",
            "Check MLFLOW_TRACKING_URI: it is the address that opens MLflow's own pages.",
        )
    return ModelURIError(
        f"The server at {origin!r} answered {error.status}: {error.text or 'no reason'}.",
        "See the server's log.",
    )
