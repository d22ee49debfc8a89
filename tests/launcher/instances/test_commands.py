"""serve --detach, ps, logs, reload, stop; systemd; tokens and TLS."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from launcher.commands.serving import check_access
from launcher.console import Console
from launcher.engines.engine import ServerOptions
from launcher.engines.scoring_server import ScoringServer
from launcher.supervision.probes import ping_url, wait_until_ready
from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    invoke,
    run_with,
    wait_until_gone,
)

Launch = Callable[..., Launcher]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A launcher home in which nobody else serves; what is left in it is ended."""
    home = tmp_path / "home"
    monkeypatch.setenv("LAUNCHER_HOME", str(home))
    yield home
    for path in home.glob("run/*/instance.json"):
        psutil.Process(json.loads(path.read_text())["pid"]).kill()


def detach(run: Run, model: ObedientModel, *arguments: str) -> dict[str, str]:
    done = run(
        *("serve", "-m", model.path, "-p", "0", "--env-manager", "local", "--detach"), *arguments
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+): +(.+)$", done.stdout, re.MULTILINE))


def listed(run: Run) -> list[dict[str, Any]]:
    done = run("ps", "--json")
    assert done.returncode == 0, done.stderr
    instances: list[dict[str, Any]] = json.loads(done.stdout)
    return instances


@pytest.mark.usefixtures("own_home")
def test_the_life_of_a_server_in_the_background(run: Run, obedient: ObedientModel) -> None:
    told = detach(run, obedient, "--name", "mine", "--workers", "2")
    assert told["name"] == "mine"
    assert invoke(told["ready"], command("done")).status_code == 200
    [instance] = listed(run)
    assert instance["name"] == "mine"
    assert instance["url"] == told["ready"]
    assert instance["pid"] == int(told["pid"])
    assert instance["state"] == "ready"
    assert instance["env_manager"] == "local"
    assert 0 < instance["uptime"] < 3600
    assert instance["memory"] > 10 * 2**20
    family = psutil.Process(instance["pid"]).children(recursive=True)
    assert re.search(r"^mine +ready +http://", run("ps").stdout, re.MULTILINE)

    taken = run("serve", "-m", obedient.path, "-p", "0", "--name", "mine", "--detach")
    assert taken.returncode == 2
    assert "'mine' is being served already" in taken.stderr

    assert run("reload", "mine").returncode == 0
    wait_until_gone(family)
    assert listed(run)[0]["reloads"] == 1
    obedient.mark("load.raise")
    failed = run("reload", "mine")
    assert failed.returncode == 1
    assert "the weights are damaged" in failed.stderr
    assert "reloaded; the old server finishes" in run("logs", "mine").stdout
    assert len(run("logs", "mine", "-n", "2").stdout.splitlines()) == 2

    follower = subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "-f", "mine"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert invoke(told["ready"], command("raise")).status_code == 400
    assert follower.stdout
    assert any("told to" in line for line in follower.stdout)
    family = psutil.Process(instance["pid"]).children(recursive=True)
    assert run("stop", "mine").returncode == 0
    follower.stdout.read()
    assert follower.wait(timeout=60) == 0
    follower.stdout.close()
    wait_until_gone(family)
    assert listed(run) == []
    last = run("logs", "mine")
    assert last.returncode == 0
    assert "told to" in last.stdout
    assert "mine is not being served" in last.stderr
    assert run("stop", "mine").returncode == 2
    assert run("logs", "other").returncode == 2


@pytest.mark.usefixtures("own_home")
def test_one_name_that_is_wrong_keeps_no_other_from_being_stopped(
    run: Run, obedient: ObedientModel
) -> None:
    detach(run, obedient, "--name", "mine")
    words = {"COMP_WORDS": "launcher stop m", "COMP_CWORD": "2"}
    completed = run_with(_LAUNCHER_COMPLETE="bash_complete", **words)
    assert completed.stdout == "plain,mine\n"
    follower = subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "-f", "mine"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follower.stdout
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    assert follower.communicate(timeout=60)[1] == ""
    assert follower.returncode == 128 + signal.SIGINT

    done = run("stop", "nobody", "mine", "neither")
    assert done.returncode == 2
    assert done.stdout == "mine has stopped.\n"
    assert "'nobody'" in done.stderr
    assert "'neither'" in done.stderr
    assert listed(run) == []


@pytest.mark.usefixtures("own_home")
def test_logs_follow_a_log_that_is_turned_over(run: Run, obedient: ObedientModel) -> None:
    started = run(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", "--detach"),
        *("--name", "mine", "--log-max-size", "2KB", "--log-keep", "1"),
    )
    assert started.returncode == 0, started.stderr
    url = re.search(r"^ready: (\S+)", started.stdout, re.MULTILINE)
    assert url
    follower = subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "-f", "mine"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follower.stdout
    # Each is told with a traceback, of which few fit into a file.
    for _ in range(5):
        assert invoke(url[1], command("raise")).status_code == 400
        assert any("told to" in line for line in follower.stdout)
    log = Path(listed(run)[0]["log"])
    assert sorted(each.name for each in log.parent.glob("mine-*")) == [log.name, log.name + ".1"]
    assert run("stop", "mine").returncode == 0
    follower.stdout.read()
    assert follower.wait(timeout=60) == 0
    follower.stdout.close()


@pytest.mark.usefixtures("own_home")
def test_detach_fails_with_the_reason(run: Run, obedient: ObedientModel) -> None:
    obedient.mark("load.raise")
    done = run("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", "--detach")
    assert done.returncode == 4
    assert "RuntimeError: the weights are damaged" in done.stderr
    assert "Log: " in done.stderr
    assert listed(run) == []


@pytest.mark.usefixtures("own_home")
def test_a_variable_puts_one_launcher_in_the_background(run: Run, obedient: ObedientModel) -> None:
    """It has the same variables, and serves itself."""
    variables = {"MODEL_URI": str(obedient.path), "PORT": "0", "DETACH": "yes", "NAME": "mine"}
    given = {f"LAUNCHER_SERVE_{name}": value for name, value in variables.items()}
    done = run_with("serve", "--env-manager", "local", **given)
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in listed(run)] == ["mine"]
    assert run("stop", "mine").returncode == 0


@pytest.mark.usefixtures("own_home")
def test_names_are_made_from_the_model_and_requests_are_counted(
    launch: Launch, run: Run, obedient: ObedientModel
) -> None:
    arguments = ("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    first, second = launch(*arguments), launch(*arguments)
    url = first.ready()
    second.ready()
    assert [each["name"] for each in listed(run)] == ["obedient", "obedient-2"]
    for _ in range(5):
        invoke(url, command("done"))
    pid = first.process.pid
    while next(each for each in listed(run) if each["pid"] == pid)["requests"] != 5:
        assert first.process.poll() is None
    assert run("stop", "--all").returncode == 0
    assert first.wait() == second.wait() == 0


@pytest.mark.usefixtures("own_home")
def test_names_differ_whoever_starts_at_the_same_moment(
    launch: Launch, run: Run, obedient: ObedientModel
) -> None:
    obedient.hold("load")  # all have their names before the first of them serves
    arguments = ("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    unnamed = [launch(*arguments) for _ in range(4)]
    named = [launch(*arguments, "--name", "mine") for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ends = {pool.submit(each.wait): each for each in named}
        done, _ = concurrent.futures.wait(ends, return_when=concurrent.futures.FIRST_COMPLETED)
        [refused] = [ends[end] for end in done]
        [kept] = [each for each in named if each is not refused]
        assert refused.wait() == 2
        taken = f"'mine' is being served already, by process {kept.process.pid}"
        assert taken in refused.output
        while len(instances := listed(run)) < 5:
            assert all(each.process.poll() is None for each in (*unnamed, kept))
        names = ["mine", "obedient", "obedient-2", "obedient-3", "obedient-4"]
        assert [each["name"] for each in instances] == names
        assert run("stop", "--all").returncode == 0
    assert [each.wait() for each in (*unnamed, kept)] == [0] * 5


def test_launchers_with_the_same_pid_are_not_in_each_other_s_way(
    launch: Launch, run: Run, obedient: ObedientModel, own_home: Path
) -> None:
    """Containers that share a launcher home, and one that was killed and starts again."""
    container = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        subprocess.run([*container, "true"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no process namespaces can be made here: run as root")
    arguments = ("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    first = launch(*arguments, "--name", "mine", through=container)
    first.ready()
    second = launch(*arguments, through=container)
    url = second.ready()
    assert listed(run) == []  # they are not of this namespace...
    assert len(list(own_home.glob("run/1-*/control"))) == 2  # ... and are left alone
    family = first.descendants()
    first.process.kill()
    first.wait()
    wait_until_gone(family)
    again = launch(*arguments, "--name", "mine", through=container)
    assert invoke(again.ready(), command("done")).status_code == 200
    assert listed(run) == []
    assert len(list(own_home.glob("run/1-*/control"))) == 2, "the dead one's was to be removed"
    assert invoke(url, command("done")).status_code == 200


def test_systemd_hears_of_readiness_life_reload_and_stop(
    launch: Launch, obedient: ObedientModel
) -> None:
    """systemd itself does not run here: a socket in its place takes what it would get."""
    path = Path(f"/tmp/notify-{os.getpid()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(60)
        try:
            launcher = launch(
                *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
                environ={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"},
            )

            def wait_for(state: bytes) -> list[bytes]:
                while True:
                    fields = systemd.recv(4096).split(b"\n")
                    if state in fields:
                        return fields

            assert b"MAINPID=%d" % launcher.process.pid in wait_for(b"READY=1")
            wait_for(b"WATCHDOG=1")
            wait_for(b"WATCHDOG=1")
            launcher.send(1)
            assert any(field.startswith(b"MONOTONIC_USEC=") for field in wait_for(b"RELOADING=1"))
            wait_for(b"READY=1")
            launcher.send(15)
            wait_for(b"STOPPING=1")
            assert launcher.wait() == 0
        finally:
            path.unlink()


def test_a_token_and_a_certificate(launch: Launch, obedient: ObedientModel, tmp_path: Path) -> None:
    token, certificate, key = tmp_path / "token", tmp_path / "cert.pem", tmp_path / "key.pem"
    token.write_text("sesame\n")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    guards = ("--token-file", token, "--tls-cert", certificate, "--tls-key", key)
    launcher = launch(*("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", *guards))
    url = launcher.ready()
    assert url.startswith("https://")
    with requests.Session() as session:
        session.trust_env = False  # it may name other certificates
        session.verify = str(certificate)
        for path in ("/ping", "/health"):
            assert session.get(url + path, timeout=60).status_code == 200
        for given in (None, "Bearer wrong", "Bearer sesame2", "Basic sesame", "sesame"):
            headers = {} if given is None else {"Authorization": given}
            for path in ("/info", "/metrics", "/version", "/nowhere", "/ping/"):
                assert session.get(url + path, headers=headers, timeout=60).status_code == 401
            answer = session.post(
                url + "/invocations", json=command("done"), headers=headers, timeout=60
            )
            assert answer.status_code == 401
        session.headers["Authorization"] = "Bearer sesame"
        assert session.get(f"{url}/metrics", timeout=60).status_code == 200
        done = session.post(f"{url}/invocations", json=command("done"), timeout=60)
        assert done.json() == {"predictions": ["done"]}
        large = json.dumps({"dataframe_records": [{"command": "done", "pad": "x" * 3_000_000}]})
        done = session.post(
            f"{url}/invocations", data=large,
            headers={"Content-Type": "application/json"}, timeout=60,
        )  # fmt: skip
        assert done.json() == {"predictions": ["done"]}
    plain = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    plain.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not plain.recv(100).startswith(b"HTTP/1.1 200")
    plain.close()
    assert ssl.get_server_certificate(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    assert launcher.stop() == 0


def test_what_guards_the_server_has_to_be_there(
    run: Run, obedient: ObedientModel, tmp_path: Path
) -> None:
    serve = ("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local")
    (tmp_path / "empty").touch()
    for arguments in (
        ("--token-file", tmp_path / "none"),
        ("--token-file", tmp_path / "empty"),
        ("--tls-cert", tmp_path / "none"),
        ("--tls-cert", tmp_path / "empty"),
        ("--tls-key", tmp_path / "empty"),
        ("--workers", "0"),
    ):
        assert run(*serve, *arguments).returncode == 2, arguments


@pytest.mark.parametrize(
    ("host", "is_warned_of"),
    [("127.0.0.1", False), ("127.1.2.3", False), ("::1", False), ("localhost", False),
     ("0.0.0.0", True), ("127.evil.example", True), ("localhost.evil.example", True)],
)  # fmt: skip
def test_only_what_is_on_this_machine_needs_no_token(
    host: str, is_warned_of: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    check_access(ServerOptions(host=host), Console(), ScoringServer())
    assert ("anyone who reaches" in capfd.readouterr().err) is is_warned_of


def test_a_service_outlives_its_standard_output_and_keeps_its_port(
    launch: Launch, obedient: ObedientModel, tmp_path: Path
) -> None:
    ready_file = tmp_path / "ready.json"
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
        *("--ready-file", ready_file),
        through=("sh", "-c", 'exec "$0" "$@" >/dev/full'),
    )
    launcher.wait_for("standard output cannot be written")
    url = json.loads(ready_file.read_text())["url"]
    server = psutil.Process(invoke(url, command("parents")).json()["predictions"][1])
    server.terminate()  # not the launcher: the socket that it has is shut down
    launcher.wait_for("restarting it")
    assert wait_until_ready(ping_url(url), 60) is None
    assert invoke(url, command("done")).json() == {"predictions": ["done"]}
    assert launcher.stop() == 0


def test_another_host_without_a_token_is_warned_of(launch: Launch, obedient: ObedientModel) -> None:
    launcher = launch(
        *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", "-h", "0.0.0.0")
    )
    launcher.ready()
    assert "warning: anyone who reaches 0.0.0.0 can use the model" in launcher.output
    assert launcher.stop() == 0
