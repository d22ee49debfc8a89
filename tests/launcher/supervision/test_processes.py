"""Workers and servers: forked or not, recycled, crashed, stopped, hung, reloaded, reaped."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from scoring_server.container.cpu_limits import available_cpus
from tests.launcher.launcher_process import (
    LONGEST,
    Launcher,
    ObedientModel,
    command,
    invoke,
    serve_locally,
    wait_until_gone,
)

Launch = Callable[..., Launcher]


def worker_and_server(url: str) -> tuple[int, int]:
    worker, server = invoke(url, command("parents")).json()["predictions"]
    return worker, server


def invoke_for_ever(url: str, what: str) -> None:
    while True:
        invoke(url, command(what))


@pytest.mark.parametrize("how", ["declared", "found out"])
def test_a_model_that_cannot_be_forked_is_loaded_in_each_worker(
    launch: Launch, obedient: ObedientModel, how: str
) -> None:
    if how == "found out":
        obedient.mark("load.thread")
    arguments = ["--no-preload"] if how == "declared" else []
    launcher = serve_locally(launch, obedient, "--workers", "2", *arguments)
    url = launcher.ready()
    if how == "found out":
        launcher.wait_for("does not survive a fork .the thread 'mine' runs")
    worker, _ = worker_and_server(url)
    psutil.Process(worker).kill()
    assert invoke(url, command("done")).status_code == 200
    assert launcher.stop() == 0


def test_a_model_that_fails_to_load_in_a_worker_ends_with_4(
    launch: Launch, obedient: ObedientModel
) -> None:
    obedient.mark("load.raise")
    launcher = serve_locally(launch, obedient, "--no-preload")
    assert launcher.wait() == 4
    assert "Error: " in launcher.output
    assert "RuntimeError: the weights are damaged" in launcher.output


def test_workers_are_replaced_after_their_number_of_requests(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient, "--max-requests", "3", "--max-requests-jitter", "2")
    url = launcher.ready()
    with requests.Session() as session:
        answers = [
            session.post(f"{url}/invocations", json=command("pid"), timeout=60) for _ in range(20)
        ]
    assert {answer.status_code for answer in answers} == {200}
    pids = [answer.json()["predictions"][0] for answer in answers]
    assert all(3 <= pids.count(pid) <= 5 for pid in set(pids[:15]))
    assert launcher.stop() == 0


def test_a_model_that_crashes_at_every_request_ends_with_5(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient, "--max-restarts", "2")
    url = launcher.ready()
    for _ in range(2):
        answer = invoke(url, command("exit"))
        assert answer.status_code == 500
        assert "exited with code 9" in answer.json()["message"]
    with pytest.raises(requests.ConnectionError):
        invoke_for_ever(url, "segfault")
    assert launcher.wait() == 5
    assert "3 times within 60 s; it is not restarted again" in launcher.output


def test_one_bad_request_among_good_ones_is_no_reason_to_give_up(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient, "--max-restarts", "0")
    url = launcher.ready()
    for _ in range(3):
        assert invoke(url, command("done")).status_code == 200
        assert invoke(url, command("segfault")).status_code == 500
    assert invoke(url, command("done")).status_code == 200
    assert launcher.stop() == 0


def test_a_server_that_hangs_is_replaced(launch: Launch, obedient: ObedientModel) -> None:
    launcher = serve_locally(launch, obedient, "--liveness-timeout", "1")
    url = launcher.ready()
    _, server = worker_and_server(url)
    psutil.Process(server).suspend()
    # Its connection waits in the socket, which is the launcher's, for the next server.
    assert worker_and_server(url)[1] != server
    assert "has not answered /ping for 1 s" in launcher.output
    assert launcher.stop() == 0


def test_nothing_survives_kill_9_of_the_launcher_though_the_server_is_stopped(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    invoke(url, command("child"))
    family = launcher.wait_for_descendants(3)
    for process in family:
        process.suspend()
    launcher.process.kill()
    wait_until_gone(family)


def test_a_reload_serves_the_new_model_and_loses_no_request(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    before, server = worker_and_server(url)
    ended = threading.Event()

    def load() -> list[int]:
        statuses = []
        with requests.Session() as session:
            while not ended.is_set():
                answer = session.post(f"{url}/invocations", json=command("done"), timeout=60)
                statuses.append(answer.status_code)
        return statuses

    old = [psutil.Process(before), psutil.Process(server)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load) for _ in range(4)]
        try:
            launcher.send(signal.SIGHUP)
            launcher.wait_for("reloaded; the old server finishes")
            wait_until_gone(old)
        finally:
            ended.set()
        statuses = [status for client in clients for status in client.result()]
    assert set(statuses) == {200}
    assert worker_and_server(url)[1] != server
    assert launcher.stop() == 0


def test_a_request_that_the_old_server_has_is_finished_after_a_reload(
    launch: Launch, obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    obedient.hold("predict")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(invoke, url, command("meet"))
        obedient.wait_until_held("predict")
        launcher.send(signal.SIGHUP)
        launcher.wait_for("reloaded; the old server finishes")
        assert invoke(url, command("done")).json() == {"predictions": ["done"]}
        obedient.let_go("predict")
        assert held.result().json() == {"predictions": ["met"]}
    assert launcher.stop() == 0


@pytest.mark.parametrize("broken", ["model", "MLmodel", "crash"])
def test_a_reload_that_fails_keeps_the_old_server(
    launch: Launch, obedient: ObedientModel, broken: str
) -> None:
    launcher = serve_locally(launch, obedient)
    url = launcher.ready()
    _, server = worker_and_server(url)
    if broken == "MLmodel":
        (obedient.path / "MLmodel").write_text("{")
        reason = "MLmodel"
    elif broken == "model":
        obedient.mark("load.raise")
        reason = "the weights are damaged"
    else:
        obedient.mark("load.exit")
        reason = "exited with code 7 before it was ready"
    launcher.send(signal.SIGHUP)
    launcher.wait_for(f"not reloaded, the old server stays: .*{reason}")
    assert worker_and_server(url)[1] == server
    assert launcher.stop() == 0


def test_inherited_orphans_are_reaped(obedient: ObedientModel) -> None:
    """As process 1 does in a container; here the launcher is made the orphans' subreaper."""
    script = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        "os.execv(sys.executable, [sys.executable, '-m', 'launcher', *sys.argv[1:]])"
    )
    arguments = ["serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    url = process.stdout.readline().split()[1]
    family = psutil.Process(process.pid)
    orphan = psutil.Process(invoke(url, command("child")).json()["predictions"][0])
    # What a worker leaves behind is the server's to reap; with the server gone it is inherited.
    _, server = worker_and_server(url)
    psutil.Process(server).kill()
    _, left = psutil.wait_procs([orphan], timeout=LONGEST)
    assert not left
    assert psutil.STATUS_ZOMBIE not in [each.status() for each in family.children(recursive=True)]
    process.terminate()
    assert process.wait(timeout=LONGEST) == 0
    process.stdout.close()


def test_workers_auto_counts_the_cpus_of_the_control_group(tmp_path: Path) -> None:
    """Control groups cannot be made everywhere: the kernel's files are laid out here instead."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    here = len(os.sched_getaffinity(0))

    def quota(path: str, content: str) -> None:
        (groups / path).parent.mkdir(parents=True, exist_ok=True)
        (groups / path).write_text(content)

    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    assert available_cpus(proc, groups) == here
    quota("a/b/cpu.max", "max 100000")
    assert available_cpus(proc, groups) == here
    quota("a/cpu.max", "50000 100000")
    assert available_cpus(proc, groups) == 1
    quota("a/cpu.max", "150000 100000")
    assert available_cpus(proc, groups) == min(2, here)

    (proc / "self" / "cgroup").write_text("4:cpu,cpuacct:/c\n2:memory:/c\n")
    quota("cpu/c/cpu.cfs_quota_us", "100000")
    quota("cpu/c/cpu.cfs_period_us", "100000")
    assert available_cpus(proc, groups) == 1
    quota("cpu/c/cpu.cfs_quota_us", "-1")
    assert available_cpus(proc, groups) == here
