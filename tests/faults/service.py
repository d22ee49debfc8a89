"""A running service that can be done everything to: it has a disk, a clock and a limit of its own.

What is not to be had here (no root, no libfaketime) is None, and the faults that need it are left
out. Processes are found by a mark in their environment, so that none is missed at the end.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from tests.faults.load import Load, question
from tests.faults.source import Source

PIDS = Path("/sys/fs/cgroup/pids")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
MARK = "FAULTY_SERVICE"
# The host in the source's URL where it has a name, and who is asked for names not in hosts.
NAME, NAME_SERVER = "model-source.test", "127.0.0.77"
# Seconds from one look at the source to the next.
WATCH = 0.5
LONGEST = 60.0
WORKERS = 2

LOADER = """
import os, pathlib, select

FOLDER = pathlib.Path(os.environ["FAULTY_FOLDER"])


class Model:
    def predict(self, data):
        row = data.iloc[0]
        rest(float(row["seconds"]))
        return [{"doubled": 2 * int(row["number"]), "pid": os.getpid()}]


def _load_pyfunc(path):
    (FOLDER / "loading").touch()
    rest(float((FOLDER / "load_seconds").read_text()))
    return Model()


def rest(seconds):
    # Not time.sleep, which libfaketime breaks (EINVAL).
    select.select([], [], [], seconds)
"""


class Service:
    """`launcher serve` of a model that doubles numbers, from a source over HTTP.

    :param folder: an empty folder.
    :param load_seconds: how long the model takes to load.
    :param options: more of `launcher serve`.
    :param has_clock: whether it has a wall clock of its own (its calls go through libfaketime).
    :param has_name: whether its source has a name, in files of the service's own.
    :param is_fetching: whether its source is silent until it comes back.
    """

    def __init__(
        self,
        folder: Path,
        load_seconds: float,
        options: Sequence[str],
        *,
        has_clock: bool,
        has_name: bool,
        is_fetching: bool,
    ) -> None:
        self.folder = folder
        self._cleanups = contextlib.ExitStack()
        self._mark = uuid.uuid4().hex
        self.load_seconds = load_seconds
        self._workers: list[psutil.Process] = []
        self.names = self._make_names() if has_name else None
        self.source = Source(
            _packed_model(folder), NAME if self.names else "127.0.0.1", is_silent=is_fetching
        )
        self.is_served = False
        self._cleanups.callback(self.source.close)
        self.home = self._make_home()
        self.group = self._make_group()
        self.clock = folder / "clock" if has_clock and FAKETIME.exists() else None
        self.port = _free_port()
        output_end, output = os.pipe()
        # A full pipe is soon full.
        with contextlib.suppress(AttributeError, OSError):
            import fcntl

            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 4096)
        self._output = output_end
        self.lines: deque[str] = deque(maxlen=2000)
        self._is_reading = threading.Event()
        self._is_reading.set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.process = subprocess.Popen(
            [
                *self._with_names(),
                *(sys.executable, "-m", "launcher", "serve", "-m", self.source.url),
                *("-p", str(self.port), "--env-manager", "local", "-w", str(WORKERS)),
                *("--timeout", "5", "--watch", str(WATCH)),
                *("--liveness-timeout", "2", "--graceful-timeout", "8", "--name", "faulty"),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environ(),
            start_new_session=True,
            preexec_fn=self._join_group,
        )
        os.close(output)
        self._reader.start()
        self.launcher = psutil.Process(self.process.pid)

    # --- what it is given ------------------------------------------------------------------------

    def _environ(self) -> dict[str, str]:
        environ = {
            **os.environ,
            MARK: self._mark,
            "LAUNCHER_HOME": str(self.home or self.folder / "home"),
            "FAULTY_FOLDER": str(self.folder),
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
            "NO_PROXY": f"{NAME},127.0.0.1",
        }
        (self.folder / "load_seconds").write_text(str(self.load_seconds))
        if self.clock is not None:
            self.set_clock("+0")
            environ |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_NO_CACHE": "1",
                # time.monotonic() does not jump on a real machine.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",  # its name before 0.9.9
            }
        return environ

    def _make_home(self) -> Path | None:
        home = self.folder / "home"
        home.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(home)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            return None
        self._cleanups.callback(subprocess.run, ["umount", "-l", str(home)], check=True)
        return home

    def _make_names(self) -> Path | None:
        """Files for its own /etc/hosts and /etc/resolv.conf."""
        probe = ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
        if os.geteuid() != 0 or subprocess.run(probe, capture_output=True, check=False).returncode:
            return None
        names = self.folder / "names"
        names.mkdir()
        (names / "resolv.conf").write_text(
            f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n"
        )
        (names / "hosts").write_text(f"127.0.0.1 localhost {NAME}\n")
        return names

    def _with_names(self) -> list[str]:
        """What a command begins with that sees those files."""
        if self.names is None:
            return []
        mounts = (
            f"mount --bind '{self.names / name}' '/etc/{name}'" for name in ("hosts", "resolv.conf")
        )
        return ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$0" "$@"'])]

    def forget_name(self) -> None:
        """Have no host of its source's name; name servers are asked for it then."""
        assert self.names is not None
        (self.names / "hosts").write_text("127.0.0.1 localhost\n")

    def remember_name(self) -> None:
        assert self.names is not None
        (self.names / "hosts").write_text(f"127.0.0.1 localhost {NAME}\n")

    def _make_group(self) -> Path | None:
        group = PIDS / f"faulty-{self._mark[:12]}"
        if os.geteuid() != 0 or not (PIDS / "cgroup.procs").exists():
            return None
        group.mkdir()
        self._cleanups.callback(_remove_group, group)
        return group

    def _join_group(self) -> None:
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def set_clock(self, offset: str) -> None:
        """Let its wall clock jump, such as `+5h`; `+0` is the right time."""
        assert self.clock is not None
        new = self.clock.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self.clock)

    # --- its output ------------------------------------------------------------------------------

    def _read(self) -> None:
        rest = b""
        while True:
            self._is_reading.wait()
            try:
                chunk = os.read(self._output, 4096)
            except OSError:
                return
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines.extend(line.decode("utf-8", "replace") for line in lines)

    def stop_reading(self) -> None:
        """Read its output no more: the pipe fills."""
        self._is_reading.clear()

    def fill_output(self) -> None:
        """Fill the pipe that its output goes to."""
        # Opened anew: not to wait for room is then our own business, not the launcher's too.
        pipe = os.open(f"/proc/{self.process.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"\n")
        os.close(pipe)

    def go_on_reading(self) -> None:
        self._is_reading.set()

    def close_output(self) -> None:
        """Close the end of the pipe that its output goes to."""
        # In place of the descriptor, so that the reader that waits in it reads an end.
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, self._output)
        os.close(null)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    # --- its processes ---------------------------------------------------------------------------

    def server(self) -> psutil.Process:
        """The server process; of two in a reload, the older."""
        servers = wait(lambda: self._children(self.launcher), "no server process")
        return min(servers, key=lambda each: each.create_time())

    def servers(self) -> list[psutil.Process]:
        return self._children(self.launcher)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer predictions, or did when that could be asked last."""
        pids = set()
        for number in range(6):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("POST", "/invocations", *question(number))
                pids.add(json.loads(connection.getresponse().read())["predictions"][0]["pid"])
                connection.close()
        found = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        self._workers = found or [each for each in self._workers if each.is_running()]
        return self._workers

    def pages(self) -> list[psutil.Process]:
        """The process that answers pages and descriptions; none where the server has none."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/info")
            connection.getresponse().read()
            connection.close()
        workers = {each.pid for each in self.workers()}
        return [
            each
            for each in self._children(self.server())
            if each.pid not in workers and len(workers) >= WORKERS
        ]

    @staticmethod
    def _children(process: psutil.Process) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return process.children()
        return []

    def family(self) -> list[psutil.Process]:
        """Every process that comes from this launcher, whatever became of its parents."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get(MARK) == self._mark
                ):
                    found.append(process)
        return found

    def wait_for_answers(self, load: Load, number: int) -> None:
        """Wait for so many more answers of a service that nothing has been done to yet."""
        wanted = len(load.answered_at) + number
        wait(
            lambda: len(load.answered_at) >= wanted or not self.is_alive(),
            f"not ready:\n{self.output}",
        )
        assert self.is_alive(), f"not ready:\n{self.output}"
        self.is_served = True

    # --- its states ------------------------------------------------------------------------------

    def wait_until_loading(self) -> None:
        """Wait until a server loads the model, which it may have begun before."""
        wait((self.folder / "loading").exists, "the model is not being loaded")

    def forget_loading(self) -> None:
        (self.folder / "loading").unlink(missing_ok=True)

    def load_takes(self, seconds: float) -> None:
        (self.folder / "load_seconds").write_text(str(seconds))

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> int | None:
        """Stop it as asked; the exit code, or None if it had to be killed."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int | None:
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            return None

    def survivors(self) -> list[psutil.Process]:
        """Who is left a few seconds after the launcher's end."""
        _, left = psutil.wait_procs(self.family(), timeout=6)
        return [each for each in left if each.is_running()]

    def close(self) -> None:
        """End what is left, and take away the disk and the limit."""
        with contextlib.suppress(OSError):
            if self.group is not None:
                (self.group / "pids.max").write_text("max")
        for each in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(self.family(), timeout=5)
        self.process.wait()
        self.go_on_reading()
        self._reader.join(5)
        os.close(self._output)
        # Orphans are this process's children (tests/conftest.py).
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        self._cleanups.close()


@contextlib.contextmanager
def running(
    folder: Path,
    load_seconds: float = 0.0,
    options: Sequence[str] = (),
    *,
    has_clock: bool = False,
    has_name: bool = False,
    is_fetching: bool = False,
) -> Iterator[tuple[Service, Load]]:
    """A service and the load on it; parameters as for `Service`."""
    folder.mkdir(parents=True, exist_ok=True)
    service = Service(
        folder,
        load_seconds,
        options,
        has_clock=has_clock,
        has_name=has_name,
        is_fetching=is_fetching,
    )
    load = Load(service.port)
    try:
        yield service, load
    finally:
        load.end()
        service.close()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_group(group: Path) -> None:
    """Remove it once whoever has to has reaped the last of its processes."""

    def is_removed() -> bool:
        try:
            group.rmdir()
        except OSError:
            return False
        return True

    wait(is_removed, f"processes are left: {(group / 'cgroup.procs').read_text()}")


def wait(condition: Callable[[], object], otherwise: str) -> list[psutil.Process]:
    """Wait until the condition holds, and return what it gave."""
    deadline = time.monotonic() + LONGEST
    while not (value := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)
    return value  # type: ignore[return-value]


def _packed_model(folder: Path) -> bytes:
    model = folder / "model"
    (model / "code").mkdir(parents=True)
    (model / "code" / "doubling_model.py").write_text(LOADER)
    (model / "requirements.txt").write_text("")
    (model / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: doubling_model\n    code: code\n"
    )
    packed = folder / "model.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(model, "model")
    return packed.read_bytes()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
