"""Running the launcher as a person does: a subprocess, its output, HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

LONGEST = 240.0


class Launcher:
    """One launcher process; its output is collected line by line as it comes.

    ``through``: the beginning of a command that runs the rest of it; ``command`` runs the launcher.
    """

    def __init__(
        self,
        *arguments: str | Path,
        environ: dict[str, str] | None = None,
        through: Sequence[str] = (),
        command: Sequence[str] = (sys.executable, "-m", "launcher"),
    ) -> None:
        self.process = subprocess.Popen(
            [*through, *command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line of output (either stream) that matches."""
        deadline = time.monotonic() + LONGEST
        with self._changed:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                alive = any(reader.is_alive() for reader in self._readers)
                assert alive, f"ended without {pattern!r}:\n{self.output}"
                assert time.monotonic() < deadline, f"no {pattern!r} in time:\n{self.output}"
                self._changed.wait(timeout=1)

    def ready(self) -> str:
        """Wait for readiness; the server's URL."""
        return self.wait_for(r'(?:^|"message": ")ready: (https?://[^\s"]+)')[1]

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self) -> int:
        """Wait for the end and all output; the exit code."""
        code = self.process.wait(timeout=LONGEST)
        for reader in self._readers:
            reader.join(timeout=10)
        return code

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for_descendants(self, number: int) -> list[psutil.Process]:
        """Wait until there are that many."""
        deadline = time.monotonic() + LONGEST
        while len(family := self.descendants()) != number:
            assert time.monotonic() < deadline, f"{len(family)} descendants, not {number}"
            time.sleep(0.02)
        return family


def run_to_end(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the launcher to its end; `options` are those of `subprocess.run`."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
        **options,
    )


def run_with(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The same with further variables."""
    return run_to_end(*arguments, env={**os.environ, **environ})


def invoke(url: str, body: Any, content_type: str = "application/json") -> requests.Response:
    """POST to /invocations; ``body`` is sent as JSON unless it is text or bytes."""
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return requests.post(
        f"{url}/invocations", data=data, headers={"Content-Type": content_type}, timeout=60
    )


OBEDIENT_LOADER = '''
import ctypes, os, pathlib, signal, subprocess, sys, time

LEAKED = []
FOLDER = pathlib.Path(__file__).resolve().parents[1]


def meet(name):
    """Say that we are here, then wait until the test lets us go on."""
    (FOLDER / f"{name}.here").touch()
    with open(FOLDER / f"{name}.go") as go:
        go.read()


class Model:
    def predict(self, data):
        command = str(data["command"].iloc[0])
        if command == "pid":
            return [os.getpid()]
        if command == "parents":
            return [os.getpid(), os.getppid()]
        if command == "meet":
            meet("predict")
            return ["met"]
        if command == "crash":
            os.kill(os.getppid(), signal.SIGKILL)
        if command == "segfault":
            ctypes.string_at(0)
        if command == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            return [child.pid]
        if command == "environ":
            return [dict(os.environ)]
        if command == "sys":
            return [sys.executable, sys.prefix, *sys.path]
        if command.startswith("sleep "):
            time.sleep(float(command.split()[1]))
        if command.startswith("seize "):
            # PyDLL keeps the interpreter lock: nothing else in this process runs meanwhile.
            ctypes.PyDLL(None).usleep(int(float(command.split()[1]) * 1e6))
        if command == "large":
            return ["x" * 20_000_000]
        if command == "leak":
            LEAKED.append(bytearray(os.urandom(1 << 20)))
        if command == "exit":
            os._exit(9)
        if command == "raise":
            raise ValueError("told to")
        return ["done"]


def _load_pyfunc(path):
    if (FOLDER / "load.go").exists():
        meet("load")
    if (FOLDER / "load.thread").exists():
        import threading
        threading.Thread(target=time.sleep, args=(3600,), name="mine", daemon=True).start()
    if (FOLDER / "load.raise").exists():
        raise RuntimeError("the weights are damaged\\nin two lines")
    if (FOLDER / "load.exit").exists():
        os._exit(7)
    return Model()
'''


class ObedientModel:
    """A model without MLflow that does what a request tells it to, and waits for the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "code").mkdir(parents=True)
        (path / "code" / "obedient_model.py").write_text(OBEDIENT_LOADER)
        (path / "MLmodel").write_text(
            "flavors:\n  python_function:\n    loader_module: obedient_model\n    code: code\n"
        )
        (path / "requirements.txt").write_text("")

    def hold(self, place: str) -> None:
        """Have the model wait at ``place`` (load or predict)."""
        os.mkfifo(self.path / f"{place}.go")

    def wait_until_held(self, place: str) -> None:
        """Return once the model waits there, for good."""
        marker = self.path / f"{place}.here"
        deadline = time.monotonic() + LONGEST
        while not marker.exists():
            assert time.monotonic() < deadline, f"the model never came to {place}"
            time.sleep(0.02)

    def let_go(self, place: str) -> None:
        """Let the model go on."""
        with (self.path / f"{place}.go").open("w"):
            pass

    def mark(self, name: str) -> None:
        (self.path / name).touch()


def serve_locally(
    launch: Callable[..., Launcher], model: ObedientModel, *arguments: str | Path
) -> Launcher:
    """Serve the model at a free port, in the Python that runs the tests."""
    return launch("serve", "-m", model.path, "-p", "0", "--env-manager", "local", *arguments)


def command(name: str) -> dict[str, Any]:
    """The request body that makes the obedient model do ``name``."""
    return {"dataframe_records": [{"command": name}]}


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    described = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            described.append((process.pid, process.cmdline()))
    assert not described
