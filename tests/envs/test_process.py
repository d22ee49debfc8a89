"""Commands of a build: none outlives the launcher, nothing secret is logged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from envs.building.environ import clean_environ
from envs.building.log import BuildLog
from envs.building.process import GuardedProcess, read_output, run

# A command with a child of its own in the background, as a build backend has.
FAMILY = "sleep 600 & echo child $!; echo parent $$; wait"


def started_family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    assert process.stdout is not None
    lines = [process.stdout.readline().split() for _ in range(2)]
    return [psutil.Process(int(line[1])) for line in lines]


def run_family(
    run_python: Callable[..., subprocess.Popen[str]], body: str
) -> subprocess.Popen[str]:
    code = f"""if True:
        import signal, sys, threading, time
        from envs.building.log import BuildLog
        from envs.building.process import run
        def family():
            return run(["/bin/sh", "-c", {FAMILY!r}], log=BuildLog(None),
                       on_line=lambda line: print(line, flush=True))
    """
    return run_python(code + body)


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_kill_9_takes_the_whole_family(run_python: Callable[..., subprocess.Popen[str]]) -> None:
    launcher = run_family(run_python, "\n        family()")
    family = started_family(launcher)
    launcher.kill()
    assert_gone(family)


def test_the_end_of_the_starting_thread_does_not_end_a_command(
    run_python: Callable[..., subprocess.Popen[str]],
) -> None:
    body = """
        from envs.building.environ import clean_environ
        from envs.building.process import GuardedProcess
        started = []
        def start():
            command = ["/bin/sh", "-c", "read line < /dev/zero & sleep 0.3; echo done"]
            started.append(GuardedProcess(command, log=BuildLog(None), env=clean_environ()))
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        with started[0] as process:
            print(process.wait().returncode)
    """
    launcher = run_family(run_python, body)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_exception_from_a_signal_handler_ends_the_family(
    run_python: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    body = """
        class Stop(BaseException): pass
        def stop(number, frame):
            raise Stop
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        try:
            family()
        except Stop:
            print("stopped", flush=True)
            time.sleep(600)
    """
    launcher = run_family(run_python, body)
    family = started_family(launcher)
    launcher.send_signal(number)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "stopped\n"
    # Killed before the exception left `run`; the kernel may still need a moment for it.
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_one_that_ignores_sigterm_is_killed() -> None:
    log = BuildLog(None)
    ready = threading.Event()
    command = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN);"
               "print('ready', flush=True); time.sleep(600)"]  # fmt: skip
    with GuardedProcess(command, log=log, env=clean_environ()) as process:
        waiter = threading.Thread(target=process.wait, args=(lambda _: ready.set(),))
        waiter.start()
        assert ready.wait(30)
        before = time.monotonic()
        process.stop()
        assert time.monotonic() - before < 20
    waiter.join(10)
    assert not waiter.is_alive()


def test_what_the_command_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    done = run(
        ["/bin/sh", "-c", f"sleep 600 > {tmp_path}/out & echo $!"], log=BuildLog(tmp_path / "log")
    )
    left = int(done.lines[0])
    assert_gone([psutil.Process(left)] if psutil.pid_exists(left) else [])


def test_exit_codes_and_signals_are_told() -> None:
    assert run(["/bin/sh", "-c", "exit 7"], log=BuildLog(None)).returncode == 7
    assert run(["/bin/sh", "-c", "kill -9 $$"], log=BuildLog(None)).returncode == 137
    missing = run(["/nonexistent/command"], log=BuildLog(None))
    assert missing.returncode == 127
    assert missing.lines == ("cannot start /nonexistent/command: No such file or directory",)


def test_output_and_errors_are_kept_apart_where_asked(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log")
    code, output = read_output(["/bin/sh", "-c", "echo out; echo err >&2"], log=log)
    assert (code, output) == (0, "out\n")
    assert (tmp_path / "log").read_text().endswith("\nerr\n")


def test_the_environment_of_another_python_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON"):
        monkeypatch.setenv(name, "/elsewhere")
    done = run(["/usr/bin/env"], log=BuildLog(None))
    assert "/elsewhere" not in done.text
    assert "PYTHONNOUSERSITE=1" in done.lines
    assert f"PATH={os.environ['PATH']}" in done.lines


def test_the_log_masks_credentials_and_its_error_names_it(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log", {"sesame-1234"})
    run(["/bin/echo", "https://me:pw@host/x sesame-1234"], log=log)
    text = (tmp_path / "log").read_text()
    assert "https://****@host/x ****\n" in text
    assert "sesame" not in text
    error = log.error("cannot read https://me:pw@host")
    assert (error.message, error.log_path) == ("cannot read https://****@host", tmp_path / "log")
