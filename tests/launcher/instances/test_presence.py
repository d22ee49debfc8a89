"""What others learn of a served model: a real loop, a tiny server, real files and sockets."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envs import Environment
from launcher.artifacts import ModelSource
from launcher.console import Console
from launcher.engines.deployment import ModelDeployment, describe_environment
from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.engines.scoring_server import ScoringServer
from launcher.instances.control import connect
from launcher.instances.presence import Presence
from launcher.instances.registry import (
    INSTANCE_FILE,
    claimed_name,
    find_instance,
    running_instances,
)
from launcher.model.mlmodel import Model, read_model
from launcher.supervision.process import Command
from tests.launcher.launcher_process import ObedientModel
from tests.launcher.supervision.tiny_server import Life, announcing

LOCAL = Environment("0123", "local", Path(sys.prefix), Path(sys.executable), "3.11", {})


class Tiny(Engine):
    """The tiny server as an engine; it is configured by a file."""

    name = "tiny"
    requirements = ()
    younger = ()
    packages = ()
    options = frozenset()

    def check(self, model: Model, options: ServerOptions) -> None:
        pass

    def configure(
        self, assignment: Assignment, folder: Path, *, restarts: int, reloads: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described = [assignment.model.name, restarts, reloads]
        (folder / "config.json").write_text(json.dumps(described))

    def command(self, python: Path, folder: Path, assignment: Assignment) -> Command:  # noqa: ARG002
        return announcing(folder)


class Known:
    """A served model that has a presence."""

    def __init__(self, model: Path, folder: Path, ready_file: Path) -> None:
        self.folder = folder / "run" / "1-instance"
        self.folder.mkdir(parents=True)
        self.deployment = self.deploy(model)
        self.life = Life(folder, self.deployment, redeploy=lambda: self.deploy(model))
        self.begun: list[str] = []
        self.presence = Presence(
            name="mine",
            url="http://127.0.0.1:1",
            model_uri="models:/mine/1",
            folder=self.folder,
            ready_file=ready_file,
            log=self.life.log,
            console=Console(),
            curl_options="",
            on_ready=lambda: self.begun.append("ready"),
        )
        self.life.model._observer = self.presence
        self.presence.attach(self.life.loop, self.life.model, self.deployment)

    def deploy(self, model: Path) -> ModelDeployment:
        return ModelDeployment(
            ModelSource(str(model), model),
            Assignment(read_model(model), "uri", describe_environment(LOCAL), ServerOptions()),
            LOCAL,
            Tiny(),
            folder=self.folder / "config",
            warn=lambda _: None,
        )

    def run(self, *at_readiness: Any) -> None:
        actions = list(at_readiness)
        told = self.presence.ready

        def ready(deployment: Any) -> None:
            told(deployment)
            actions.pop(0)()

        self.presence.ready = ready  # type: ignore[method-assign]
        try:
            self.life.run()
        finally:
            self.presence.detach()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_ready_model_is_found_by_others_until_it_ends(
    home: Path, obedient: ObedientModel, capfd: pytest.CaptureFixture[str]
) -> None:
    ready_file = home / "ready.json"
    known = Known(obedient.path, home, ready_file)
    seen = []

    def look() -> None:
        seen.append(json.loads(ready_file.read_text()))
        seen.append(find_instance("mine"))
        known.life.stop()

    known.run(look)
    content, instance = seen
    assert (content["env_manager"], content["environment"]) == ("local", "0123")
    assert (instance.env_manager, instance.model_uri) == ("local", "models:/mine/1")
    assert known.begun == ["ready"]
    assert capfd.readouterr().out.startswith("ready: http://127.0.0.1:1\n")
    assert not ready_file.exists()
    assert not (known.folder / INSTANCE_FILE).exists()


def test_files_that_cannot_be_written_end_nothing(
    home: Path, obedient: ObedientModel, capfd: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "file").touch()
    known = Known(obedient.path, home, home / "file" / "ready.json")

    def hinder() -> None:
        control = known.folder / "control"
        control.unlink()
        control.mkdir()  # as little to be unlinked as on a disk that is read-only by now
        known.life.stop()

    known.run(hinder)
    said = capfd.readouterr().err
    assert "ready.json cannot be written" in said
    assert "control cannot be written or removed" in said


def test_a_name_is_given_back_though_its_lock_cannot_be_removed(home: Path) -> None:
    lock = home / "run" / ".names" / "mine.lock"
    with claimed_name("mine"):
        lock.unlink()
        lock.mkdir()
    lock.rmdir()
    with claimed_name("mine"):
        assert lock.is_file()


def test_a_client_that_leaves_while_a_reload_runs_leaves_it_running(
    home: Path, obedient: ObedientModel
) -> None:
    known = Known(obedient.path, home, home / "ready.json")

    def ask() -> None:
        connect(known.folder / "control", {"command": "reload"}, 60).close()

    ended = []
    told = known.presence.reloaded

    def reloaded(failure: str | None) -> None:
        told(failure)
        ended.append(failure)
        known.life.stop()

    known.presence.reloaded = reloaded  # type: ignore[method-assign]
    known.run(ask, lambda: None)
    assert ended == [None]
    assert "Traceback" not in known.life.logged


def test_what_is_asked_is_answered(home: Path, obedient: ObedientModel) -> None:
    known = Known(obedient.path, home, home / "ready.json")
    clients = []

    def ask() -> None:
        clients.extend(
            connect(known.folder / "control", {"command": name}, 60)
            for name in ("status", "dance", "stop")
        )

    known.run(ask)
    read = []
    for client in clients:
        with client:
            read.append(json.loads(client.recv(4096)))
    assert read[0]["state"] == "ready"
    assert read[1] == {"failure": "unknown command 'dance'"}
    assert read[2] == {}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "name": null}'])
def test_a_damaged_file_of_one_instance_hides_no_other(
    home: Path, obedient: ObedientModel, damage: str
) -> None:
    known = Known(obedient.path, home, home / "ready.json")
    other = home / "run" / "2-instance"
    other.mkdir()
    (other / INSTANCE_FILE).write_text(damage)
    found = []

    def look() -> None:
        found.extend(instance.name for instance in running_instances())
        known.life.stop()

    known.run(look)
    assert found == ["mine"]


def test_a_configuration_that_cannot_be_written_again_stays(
    small_disk: Path, obedient: ObedientModel
) -> None:
    warnings: list[str] = []
    folder = small_disk / "config"
    deployment = ModelDeployment(
        ModelSource(str(obedient.path), obedient.path),
        Assignment(read_model(obedient.path), "uri", describe_environment(LOCAL), ServerOptions()),
        LOCAL,
        ScoringServer(),
        folder=folder,
        warn=warnings.append,
    )
    deployment.configure(restarts=0, reloads=0)
    with (small_disk / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while rest.write(bytes(4096)):  # until the disk is full
            pass
    deployment.configure(restarts=1, reloads=0)
    assert "the last one is used" in warnings[0]
    assert json.loads((folder / "config.json").read_text())["server"]["restarts"] == 0
    deployment.close()
