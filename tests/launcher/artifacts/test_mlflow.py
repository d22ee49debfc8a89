"""Every kind of URI against real MLflow servers and local stores, the real client beside it."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from launcher.artifacts import ModelURIError, resolve_model
from tests.launcher.artifacts import servers
from tests.launcher.artifacts.oracles import PASSWORD, USER, MLflow, log_models, run_client

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home")]


def contents(folder: Path) -> dict[str, bytes]:
    # MLflow's client adds the registered name and version to what it downloads.
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "registered_model_meta"
    }


def assert_same_files(ours: Path, theirs: str) -> None:
    """Compare with what MLflow's own client downloaded."""
    assert contents(ours) == contents(Path(theirs))
    assert (ours / "artifacts" / "blob one.bin").stat().st_size > 1_000_000


@pytest.fixture
def server(tracking_server: MLflow, monkeypatch: pytest.MonkeyPatch) -> MLflow:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.uri)
    return tracking_server


def test_every_form_of_uri_gives_the_files_that_mlflows_client_gets(server: MLflow) -> None:
    made = server.made
    name, (first, second) = made["name"], made["runs"]
    immutable = {f"models:/{name}/1": 1, f"models:/{name}/2": 2}
    immutable |= {f"runs:/{first}/model": 1, f"runs:/{second}/model/": 2}
    for number, model_id in enumerate(made["model_ids"], start=1):
        immutable |= {f"models:/{model_id}": number} if model_id else {}
    moving = {f"models:/{name}@champion": 1, f"models:/{name}/Production": 1}
    moving |= {f"models:/{name}/latest": 2}
    for uri, number in {**immutable, **moving}.items():
        found = resolve_model(uri)
        assert_same_files(found.path, made[f"downloaded_{number}"])
        assert found.immutable == (uri in immutable), uri
        if uri.startswith(f"models:/{name}"):
            assert (found.name, found.version) == (name, str(number))


def test_proxied_artifacts_with_and_without_a_host(server: MLflow) -> None:
    store = server.folder / "artifacts"
    (folder,) = [
        path.parent.relative_to(store).as_posix()
        for path in store.rglob("MLmodel")
        if filecmp.cmp(path, Path(server.made["downloaded_1"]) / "MLmodel", shallow=False)
    ]
    host = server.uri.partition("//")[2]
    for uri in (
        f"mlflow-artifacts:/{folder}",
        f"mlflow-artifacts:///{folder}/",
        f"mlflow-artifacts://{host}/{folder}",
        f"{server.uri}/api/2.0/mlflow-artifacts/artifacts/{folder}",
    ):
        assert_same_files(resolve_model(uri).path, server.made["downloaded_1"])


def test_what_is_cached_is_found_without_a_transfer_and_without_a_server(
    server: MLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    pinned, moving = f"models:/{server.made['name']}/1", f"models:/{server.made['name']}@champion"
    first = resolve_model(pinned, report=lines.append)
    assert any("Fetching" in line for line in lines)
    lines.clear()
    assert resolve_model(pinned, report=lines.append) == first
    assert resolve_model(moving, report=lines.append).path == first.path
    assert not lines
    # The server is gone: a proxy in its place that is closed at once knows the same address.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with servers.running(servers.CuttingProxy(server.uri, 0, 9, 0)) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        resolve_model(pinned)
        resolve_model(moving)
    assert resolve_model(pinned, report=lines.append).version == "1"
    assert any("Using the copy" in line for line in lines)
    with pytest.raises(ModelURIError, match="does not answer") as error:
        resolve_model(moving)
    assert "--offline" in error.value.hint
    assert resolve_model(moving, offline=True).version == "1"
    with pytest.raises(ModelURIError, match="has not been fetched"):
        resolve_model("models:/another/1", offline=True)


def test_an_alias_that_moves_is_noticed(server: MLflow) -> None:
    uri = f"models:/{server.made['name']}@champion"
    before = resolve_model(uri)
    assert resolve_model(uri).revision == before.revision

    def move(version: str) -> None:
        # By hand: the client would take ten seconds to start, for this one request.
        body = {"name": server.made["name"], "alias": "champion", "version": version}
        address = f"{server.uri}/api/2.0/mlflow/registered-models/alias"
        requests.post(address, json=body, timeout=60).raise_for_status()

    move("2")
    try:
        after = resolve_model(uri)
        assert (before.version, after.version) == ("1", "2")
        assert after.revision != before.revision
        assert_same_files(after.path, server.made["downloaded_2"])
    finally:
        move("1")
    assert resolve_model(uri).revision == before.revision


def test_what_is_not_there_is_said_in_words(server: MLflow) -> None:
    name, run = server.made["name"], server.made["runs"][0]
    for uri, message, hint in (
        ("runs:/" + "0" * 32 + "/model", "no run", "MLFLOW_TRACKING_URI"),
        (f"runs:/{run}/notes", "is not an MLflow Model", "Models of this run: model."),
        (f"runs:/{run}/nothing", "is not an MLflow Model", "Models of this run: model."),
        (f"runs:/{run}", "is not an MLflow Model", "Models of this run: model."),
        (f"runs:/{server.made['unfinished_run']}/model", "is not an", "The run has no models."),
        (f"runs:/{run}/../x", "leads out", "'..'"),
        ("models:/nobody/1", "no registered model 'nobody'", "MLFLOW_REGISTRY_URI"),
        ("models:/nobody@x", "no registered model 'nobody'", "MLFLOW_REGISTRY_URI"),
        ("models:/nobody/latest", "no registered model 'nobody'", "MLFLOW_REGISTRY_URI"),
        (f"models:/{name}/7", "no version 7", "It has: 1, 2."),
        (f"models:/{name}@loser", "alias 'loser'", "Its aliases: champion."),
        (f"models:/{name}/Staging", "no version in the stage 'Staging'", f"models:/{name}/NUMBER"),
        (f"models:/{name}/Stage", "neither a version", f"models:/{name}@Stage"),
        ("models:/m-" + "0" * 32, "no logged model", "MLflow 3"),
        ("mlflow-artifacts:/nothing/here", "no file MLmodel", "nothing at that place"),
        ("mlflow-artifacts:/../secret", "leads out", "'..'"),
    ):
        with pytest.raises(ModelURIError) as error:
            resolve_model(uri)
        assert message in error.value.message, uri
        assert hint in error.value.hint, uri
        assert "\n" not in error.value.message + error.value.hint


def test_a_download_that_is_cut_at_twenty_points_ends_the_same(
    server: MLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        # A server before MLflow 3 sends a file from its start each time, so a cut has to leave
        # some attempts whole; the newest goes on where it was.
        spread = 200_000 if server.made["version"].startswith("3") else 4_000_000
        proxy = servers.CuttingProxy(server.uri, 20, spread, seed)
        with servers.running(proxy):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "25")
            for number in (1, 2):
                found = resolve_model(f"models:/{server.made['name']}/{number}")
                assert_same_files(found.path, server.made[f"downloaded_{number}"])
            assert proxy.requests_sent > 20 - max(0, proxy.cuts_left)


def test_a_proxy_that_fails_every_third_request_does_no_harm(
    server: MLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.failing_proxy(server.uri) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        for number in (1, 2):
            found = resolve_model(f"models:/{server.made['name']}/{number}")
            assert_same_files(found.path, server.made[f"downloaded_{number}"])
        assert len(proxy.requests) > 20


def test_ten_processes_make_one_transfer(server: MLflow) -> None:
    uri = f"models:/{server.made['name']}/1"
    code = (
        "import sys; from launcher.artifacts import resolve_model\n"
        "print(resolve_model(sys.argv[1], report=print).path)"
    )

    def resolve(_number: int) -> str:
        command = [sys.executable, "-c", code, uri]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor(10) as pool:
        outputs = list(pool.map(resolve, range(10)))
    assert sum("Fetched" in output for output in outputs) == 1
    (path,) = {output.splitlines()[-1] for output in outputs}
    assert_same_files(Path(path), server.made["downloaded_1"])


def test_a_killed_download_goes_on_where_it_was(server: MLflow, home: Path) -> None:
    uri = f"models:/{server.made['name']}/2"
    code = (
        "import os, sys\n"
        "from launcher.artifacts import resolve_model\n"
        "from launcher.artifacts.transfer import download\n"
        "class Dying(download.Part):\n"
        "    def append(self, block):\n"
        "        super().append(block)\n"
        "        if self.size > 2_000_000: os.kill(os.getpid(), 9)\n"
        "download.Part = Dying\n"
        "resolve_model(sys.argv[1])"
    )
    died = subprocess.run([sys.executable, "-c", code, uri], check=False)
    assert died.returncode == -9
    (partial,) = (home / "models").glob("*/parts")
    assert sum(path.stat().st_size for path in partial.rglob("*")) > 1_000_000
    assert not list((home / "models").glob("*/manifest.json"))
    assert_same_files(resolve_model(uri).path, server.made["downloaded_2"])
    assert not partial.exists()


@pytest.fixture
def guarded(guarded_server: MLflow, monkeypatch: pytest.MonkeyPatch) -> MLflow:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded_server.uri)
    return guarded_server


def test_credentials_open_a_guarded_server_and_show_up_nowhere(
    guarded: MLflow, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    uri = f"models:/{guarded.made['name']}/1"
    lines: list[str] = []
    with pytest.raises(ModelURIError, match=r"401") as refused:
        resolve_model(uri, report=lines.append)
    assert "MLFLOW_TRACKING_USERNAME" in refused.value.hint
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD + "wrong")
    with pytest.raises(ModelURIError, match=r"401") as wrong:
        resolve_model(uri, report=lines.append)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    found = resolve_model(uri, report=lines.append)
    assert_same_files(found.path, guarded.made["downloaded_1"])
    # The same from the address itself.
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name)
    host = guarded.uri.partition("//")[2]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{PASSWORD}@{host}")
    assert resolve_model(uri, report=lines.append).path == found.path
    # And from MLflow's credentials file.
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = {USER}\nmlflow_tracking_password = {PASSWORD}\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri)
    assert resolve_model(uri, report=lines.append).path == found.path
    (home / ".mlflow" / "credentials").unlink()
    said = [*lines, str(refused.value), str(wrong.value), str(found)]
    kept = [p.read_bytes() for p in home.rglob("*.json")] + [
        str(p).encode() for p in home.rglob("*")
    ]
    for secret in (PASSWORD, PASSWORD + "wrong"):
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in content for content in kept)


def test_no_permission_is_said_in_words(guarded: MLflow, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys; from mlflow.server import get_app_client\n"
        "get_app_client('basic-auth', tracking_uri=sys.argv[1]).create_user('guest', sys.argv[2])"
    )
    run_client(
        guarded.python,
        ["-c", script, guarded.uri, "guest-Password-1234"],
        guarded.uri,
        guarded.folder,
        MLFLOW_TRACKING_USERNAME=USER,
        MLFLOW_TRACKING_PASSWORD=PASSWORD,
    )
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "guest")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guest-Password-1234")
    for uri in (f"models:/{guarded.made['name']}/1", f"runs:/{guarded.made['runs'][0]}/model"):
        with pytest.raises(ModelURIError, match="403") as error:
            resolve_model(uri)
        assert "READ permission" in error.value.hint


@pytest.mark.parametrize("store", ["sqlite:///mlflow.db", "mlruns"])
def test_local_stores_are_read_in_place(
    mlflow_python: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    made = log_models(mlflow_python, store, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.db*")}
    monkeypatch.chdir(tmp_path)  # Where a bare MLflow would look as well.
    name, runs = made["name"], made["runs"]
    uris = {f"models:/{name}/1": 1, f"models:/{name}@champion": 1, f"models:/{name}/latest": 2}
    uris |= {f"models:/{name}/production": 1, f"runs:/{runs[1]}/model": 2}
    uris |= {f"models:/{made['model_ids'][0]}": 1} if made["model_ids"][0] else {}
    for uri, number in uris.items():
        found = resolve_model(uri)
        assert_same_files(found.path, made[f"downloaded_{number}"])
        assert tmp_path in found.path.parents
    for uri, hint in (
        (f"models:/{name}/7", "It has: 1, 2."),
        (f"models:/{name}@loser", "Its aliases: champion."),
        (f"runs:/{runs[0]}/notes", "Models of this run: model."),
        (f"models:/{name}/Staging", "NUMBER"),
        ("models:/nobody/1", "MLFLOW_REGISTRY_URI"),
        ("runs:/" + "0" * 32 + "/model", "MLFLOW_TRACKING_URI"),
        ("models:/m-" + "0" * 32, "MLflow 3"),
    ):
        with pytest.raises(ModelURIError) as error:
            resolve_model(uri)
        assert hint in error.value.hint, uri
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.db*")} == before
    assert not (home / "models").exists()
    assert "mlflow" not in json.loads(
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import json, sys; from launcher.artifacts import resolve_model\n"
                f"resolve_model({f'models:/{name}/1'!r}); print(json.dumps(list(sys.modules)))",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_the_registry_may_be_another_store(
    newest_mlflow_python: Path,
    guarded_server: MLflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs here, registered models there."""
    made = log_models(newest_mlflow_python, "sqlite:///other.db", tmp_path, versions=1)
    host = guarded_server.uri.partition("//")[2]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{PASSWORD}@{host}")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///other.db")
    assert_same_files(resolve_model(f"models:/{made['name']}/1").path, made["downloaded_1"])
    run = guarded_server.made["runs"][0]
    assert_same_files(resolve_model(f"runs:/{run}/model").path, guarded_server.made["downloaded_1"])
