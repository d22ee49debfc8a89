"""The supervised process: signals, stops at every phase, crashes, the launcher's own death."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.launcher.launcher_process import (
    LONGEST,
    Launcher,
    ObedientModel,
    command,
    invoke,
    serve_locally,
    wait_until_gone,
)

pytestmark = pytest.mark.slow

Launch = Callable[..., Launcher]
STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]


def assert_port_is_free(url: str) -> None:
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((parts.hostname, parts.port))


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_stop_while_the_model_loads(
    launch: Launch, obedient: ObedientModel, signum: signal.Signals
) -> None:
    obedient.hold("load")
    launcher = serve_locally(launch, obedient)
    obedient.wait_until_held("load")
    family = launcher.descendants()
    assert family
    launcher.send(signum)
    assert launcher.wait() == 0, launcher.output
    wait_until_gone(family)


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_stop_while_a_request_is_answered_answers_it(
    launch: Launch, obedient: ObedientModel, signum: signal.Signals
) -> None:
    obedient.hold("predict")
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    family = launcher.descendants()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        launcher.send(signum)
        launcher.wait_for("stopping, requests in flight")
        obedient.let_go("predict")
        assert answer.result(timeout=LONGEST).json() == {"predictions": ["met"]}
    assert launcher.wait() == 0, launcher.output
    wait_until_gone(family)
    assert_port_is_free(url)


def test_what_does_not_stop_in_time_is_killed(launch: Launch, obedient: ObedientModel) -> None:
    obedient.hold("predict")
    launcher = serve_locally(launch, obedient, "--graceful-timeout", "0.5")
    url = launcher.ready()
    family = launcher.descendants()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        assert launcher.stop() == 0
        assert answer.exception(timeout=LONGEST) is not None
    wait_until_gone(family)
    assert_port_is_free(url)


def test_a_second_ctrl_c_ends_at_once(launch: Launch, obedient: ObedientModel) -> None:
    obedient.hold("predict")
    launcher = serve_locally(launch, obedient, "--graceful-timeout", "3600")
    url = launcher.ready()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        launcher.send(signal.SIGINT)
        launcher.wait_for("stopping, requests in flight")
        launcher.send(signal.SIGINT)
        assert launcher.wait() == 0
        assert answer.exception(timeout=LONGEST) is not None
    assert "stopping at once" in launcher.output


def test_nothing_survives_kill_9_of_the_launcher(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient, "--workers", "2")
    url = launcher.ready()
    grandchild = invoke(url, command("child")).json()["predictions"][0]
    family = launcher.wait_for_descendants(4)  # the server, two workers, what the model started
    assert grandchild in [process.pid for process in family]
    launcher.process.kill()
    wait_until_gone(family)
    assert_port_is_free(url)


def test_nothing_survives_kill_9_while_the_model_loads(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.hold("load")
    launcher = serve_locally(launch, obedient)
    obedient.wait_until_held("load")
    family = launcher.descendants()
    launcher.process.kill()
    wait_until_gone(family)


def test_a_model_s_own_processes_end_with_the_server(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    grandchild = psutil.Process(invoke(launcher.ready(), command("child")).json()["predictions"][0])
    assert launcher.stop() == 0
    wait_until_gone([grandchild])


def test_a_server_that_crashes_is_restarted_and_waiting_clients_are_served(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    before = invoke(url, command("parents")).json()["predictions"]
    psutil.Process(before[1]).kill()
    launcher.wait_for("was killed by SIGKILL; restarting it")
    # The socket is the launcher's: this client waits in its queue for the next server.
    after = invoke(url, command("parents")).json()["predictions"]
    assert after[1] != before[1]
    assert launcher.stop() == 0


def test_a_worker_that_dies_is_replaced(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    worker, server = invoke(url, command("parents")).json()["predictions"]
    psutil.Process(worker).kill()
    assert invoke(url, command("parents")).json()["predictions"][1] == server
    assert launcher.stop() == 0


def test_a_server_that_keeps_crashing_ends_with_5(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient, "--max-restarts", "1")
    url = launcher.ready()
    psutil.Process(invoke(url, command("parents")).json()["predictions"][1]).kill()
    launcher.wait_for("restarting it")
    psutil.Process(invoke(url, command("parents")).json()["predictions"][1]).kill()
    assert launcher.wait() == 5
    assert "it is not restarted again" in launcher.output


def test_a_server_that_dies_before_readiness_ends_with_4(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.mark("load.exit")
    launcher = serve_locally(launch, obedient)
    assert launcher.wait() == 4
    assert "Error: The server exited with code 7 before it was ready." in launcher.output
    assert "Log: " not in launcher.output  # the server has written nothing


def test_a_model_that_raises_while_loading_ends_with_4_and_one_line(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.mark("load.raise")
    launcher = serve_locally(launch, obedient)
    assert launcher.wait() == 4
    errors = [line for line in launcher.lines if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "RuntimeError: the weights are damaged in two lines" in errors[0]


def test_a_server_that_is_not_ready_in_time_ends_with_4(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.hold("load")
    launcher = serve_locally(launch, obedient, "--ready-timeout", "1")
    assert launcher.wait() == 4
    assert "not ready within 1 s" in launcher.output


def test_sighup_reaches_the_server_which_goes_on(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    before = invoke(url, command("pid")).json()["predictions"]
    worker = psutil.Process(before[0])
    launcher.send(signal.SIGHUP)
    wait_until_gone([worker])
    assert invoke(url, command("pid")).json()["predictions"] != before
    assert launcher.stop() == 0


def test_the_ready_file_is_there_while_the_server_is(
    launch: Launch, obedient: ObedientModel, tmp_path: Path
) -> None:
    ready_file = tmp_path / "ready.json"
    obedient.hold("load")
    launcher = serve_locally(launch, obedient, "--ready-file", str(ready_file))
    obedient.wait_until_held("load")
    assert not ready_file.exists()
    obedient.let_go("load")
    url = launcher.ready()
    content = json.loads(ready_file.read_text())
    assert content["pid"] == launcher.process.pid
    assert content["url"] == url
    assert content["environment"]
    assert launcher.stop() == 0
    assert not ready_file.exists()


def test_the_server_s_surroundings_are_its_own(launch: Launch, obedient: ObedientModel) -> None:
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
        environ={"VIRTUAL_ENV": "/nowhere", "CONDA_PREFIX": "/nowhere", "KEPT": "yes"},
    )
    url = launcher.ready()
    environ = invoke(url, command("environ")).json()["predictions"][0]
    assert environ["KEPT"] == "yes"
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"} & set(environ)
    launcher.stop()
