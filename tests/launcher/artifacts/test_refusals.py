"""Servers that refuse, lie, are slow or down. Made by hand: a real MLflow does not do this."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from launcher.artifacts import ModelURIError, resolve_model
from tests.launcher.artifacts import servers
from tests.launcher.artifacts.servers import answering, reply

pytestmark = pytest.mark.usefixtures("home")

API = "/api/2.0/mlflow-artifacts/artifacts"


def refused(uri: str, **options: Any) -> ModelURIError:
    with pytest.raises(ModelURIError) as error:
        resolve_model(uri, **options)
    assert "\n" not in error.value.message + error.value.hint
    return error.value


def hostile_server(listing: list[dict[str, Any]]) -> Any:
    """Serve MLflow's artifact API with a list of files of our choice."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith(API + "?"):
            reply(handler, 200, json.dumps({"files": listing}).encode(), "application/json")
        else:
            reply(handler, 200, b"contents", "text/plain")

    return answering(answer)


@pytest.mark.parametrize(
    "path", ["../evil", "..", "/etc/evil", "a/../../evil", "", ".", "a\\b", "a/b"]
)
@pytest.mark.parametrize("is_dir", [False, True])
def test_a_list_with_files_outside_of_the_folder_is_refused(
    path: str, is_dir: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = [{"path": "MLmodel", "file_size": 8}, {"path": path, "is_dir": is_dir}]
    with hostile_server(listing) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert "which is outside of it" in refused("mlflow-artifacts:/1/model").message
    assert not [found for found in tmp_path.rglob("*") if found.name in ("evil", "b")]


@pytest.mark.parametrize("name", ["n" * 300, "ü" * 200])
def test_a_list_with_names_that_no_disk_can_have_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile_server([{"path": "MLmodel"}, {"path": name}]) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert "which has too long a name" in refused("mlflow-artifacts:/1/model").message


def test_folders_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile_server([{"path": "a", "is_dir": True}]) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert "too many folders" in refused("mlflow-artifacts:/1/model").message
        assert len(server.requests) < 100


def test_credentials_go_to_the_tracking_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to a host that a run names, nor to one that it redirects to."""

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        reply(handler, 404, b"{}", "application/json")

    with answering(elsewhere) as other:
        host = other.url.partition("//")[2]

        def tracking(handler: BaseHTTPRequestHandler) -> None:
            if "runs/get" in handler.path:
                uri = f"mlflow-artifacts://{host}/1/artifacts"
                info = {
                    "run_id": "r",
                    "experiment_id": "1",
                    "status": "FINISHED",
                    "artifact_uri": uri,
                }
                reply(
                    handler, 200, json.dumps({"run": {"info": info}}).encode(), "application/json"
                )
            else:
                handler.send_response(302)
                handler.send_header("Location", f"{other.url}/x")
                handler.send_header("Content-Length", "0")
                handler.end_headers()

        with answering(tracking) as server:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-secret-token")
            refused("runs:/r/model")
            refused("models:/a/1")
            assert {seen.get("Authorization") for seen in server.headers_seen} == {
                "Bearer a-secret-token"
            }
        assert len(other.requests) >= 2
        assert not any("Authorization" in seen for seen in other.headers_seen)


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, b"who?", "401", "MLFLOW_TRACKING_USERNAME"),
        (403, b'{"message": "no"}', "403", "READ permission"),
        (404, b"<html>", "does not know MLflow's REST API", "MLFLOW_TRACKING_URI"),
        (200, b"<html>", "does not answer as an MLflow", "MLFLOW_TRACKING_URI"),
        (503, b"disabled due to `--no-serve-artifacts`", "not hand out artifacts", "s3://"),
        (500, b'{"message": "oh"}', "answered 500: oh", "log"),
    ],
)
def test_refusals_are_said_in_words(
    status: int, body: bytes, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "application/json" if body.startswith(b"{") else "text/html"
    with answering(lambda handler: reply(handler, status, body, kind)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        error = refused("models:/a/1")
        assert message in error.message
        assert hint in error.hint
        # What may pass is tried again; what will stay is not.
        assert len(server.requests) == (6 if status == 500 else 1)


def test_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
    lines: list[str] = []
    error = refused("models:/a/1", report=lines.append)
    assert "does not answer (connection refused)" in error.message
    assert len([line for line in lines if "trying again" in line]) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid")
    assert "no such host" in refused("models:/a/1").message


def test_a_server_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        error = refused("models:/a/1")
        assert time.monotonic() - began > 0.6
    assert "timed out" in error.message
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" in error.hint


def test_retry_after_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def busy(handler: BaseHTTPRequestHandler) -> None:
        times.append(time.monotonic())
        if len(times) > 1:
            reply(handler, 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}', "application/json")
            return
        handler.send_response(429)
        handler.send_header("Retry-After", "1")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with answering(busy) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert "no logged model" in refused("models:/m-1").message
    assert times[1] - times[0] >= 1


def wrong_settings() -> dict[str, Callable[[pytest.MonkeyPatch], str]]:
    def unset(patch: pytest.MonkeyPatch) -> str:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return "MLFLOW_TRACKING_URI is not set"

    def database(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:secret@h/db")
        return "'postgresql://h/db' is of a kind"

    def missing(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nothing.db")
        return "There is no database"

    def folder(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "nothing")
        return "with runs in it"

    def databricks(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "databricks")
        return "'databricks' is of a kind"

    def number(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
        return "MLFLOW_HTTP_REQUEST_TIMEOUT is 'soon'"

    def certificate(patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/no/such.pem")
        return "'/no/such.pem', which is not there"

    def both(patch: pytest.MonkeyPatch) -> str:
        certificate(patch)
        patch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        return "are both set"

    return {
        f.__name__: f
        for f in (unset, database, missing, folder, databricks, number, certificate, both)
    }


@pytest.mark.parametrize("setting", wrong_settings().values(), ids=wrong_settings())
def test_wrong_settings_are_said_in_words(
    setting: Callable[[pytest.MonkeyPatch], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = setting(monkeypatch)
    assert expected in refused("models:/a/1").message


def test_a_store_whose_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("fsspec", "s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    for uri, package in (("s3://b/m", "s3fs"), ("gs://b/m", "gcsfs"), ("az://c/m", "adlfs"),
                         ("abfss://c@a.dfs.core.windows.net/m", "adlfs")):  # fmt: skip
        error = refused(uri)
        assert "which is not installed" in error.message
        assert f"pip install '{package}>=" in error.hint


def test_a_folder_of_the_servers_own_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        info = {"model_id": "m-1", "status": "LOGGED_MODEL_READY", "artifact_uri": "/srv/not/here"}
        reply(handler, 200, json.dumps({"model": {"info": info}}).encode(), "application/json")

    with answering(answer) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        error = refused("models:/m-1")
        assert "of the tracking server's machine" in error.message
        assert "--artifacts-destination" in error.hint


@pytest.mark.parametrize(
    ("mount", "message"),
    [("ro", "cannot be written"), ("size=400k", "is larger than the disk's room")],
)
def test_a_disk_that_is_read_only_or_full(mount: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("MLmodel", "flavors: {}")
        archive.writestr("data", bytes(1_000_000))
    code = (
        "import sys; from launcher.artifacts import *\n"
        "try: resolve_model(sys.argv[1])\n"
        "except ModelURIError as error: print(error.message, error.hint)"
    )
    # A file system of its own, seen by this one process only.
    inner = f'mount -t tmpfs -o {mount} none home && exec "$0" -c "$1" m.zip'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", inner, sys.executable, code],
        cwd=tmp_path,
        env={**os.environ, "LAUNCHER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(
            f"no file system of its own can be had here, run as root: {done.stderr.strip()}"
        )
    assert message in done.stdout, done.stderr
    assert not list((tmp_path / "home").iterdir())
