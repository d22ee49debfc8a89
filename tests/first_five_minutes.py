"""Plays README's first five minutes on a system that has nothing but Python.

    python -m tests.first_five_minutes [FOLDER]

As root, with debootstrap: makes a Debian with Python, pip and curl (once, where FOLDER is to keep
it), and a user in it who has an empty home and no rights. In his home is a copy of this clone's
files. What he types is what README.md has, read from it: the set-up, curl, a model of his own
logged with MLflow from PyPI, served by its run, scored from a file; Ctrl-C; and what he mistypes.
Prints each step with its seconds, and fails at the first that does not do what README says. Two
things differ from README: uv stands before the `pip install` of MLflow, for the time that it saves,
and the port is another, since README's may be taken on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bare_system import bare_system

CLONE = Path(__file__).resolve().parents[1]
# A namespace of mounts and processes: what is mounted and started for it ends with this script.
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
INSIDE = "FIRST_FIVE_MINUTES_INSIDE"
USER, HOME = "me", "/home/me"
LONGEST = 300


class Readme:
    """The commands and the program of README's first screen."""

    def __init__(self) -> None:
        text = (CLONE / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
        blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        self.set_up, answered, self.serve_own, self.test = (block.strip() for block in blocks)
        self.curl, self.answer = answered.splitlines()
        [self.train] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        [self.get_mlflow] = re.findall(r"`(pip install mlflow)`", text)
        [self.predict] = re.findall(r"`(launcher predict [^`]+)`", text)
        [self.doctor] = re.findall(r"`(launcher doctor [^`]+)`", text)


class Room:
    """The system that the user works on, below a folder.

    :param root: the folder.
    :param port: where he serves.
    """

    def __init__(self, root: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._root = root
        paths = f"{HOME}/launcher/.venv/bin:/usr/bin:/bin"
        self._environ = {"HOME": HOME, "PATH": paths, "LANG": "C.UTF-8", "PORT": str(port)}

    def furnish(self) -> None:
        """Mount what programs want, make the user, copy the clone."""
        for kind, place in (("proc", "proc"), ("tmpfs", "tmp"), ("tmpfs", "dev/shm")):
            folder = self._root / place
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", kind, kind, folder], check=True)
            if kind == "tmpfs":
                folder.chmod(0o1777)
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{name}", self._root / "etc" / name)
        for name in ("PIP_CERT", "SSL_CERT_FILE"):
            if name in os.environ:  # a machine that reaches indexes with a certificate of its own
                target = self._root / "etc" / "ssl" / f"{name}.pem"
                shutil.copyfile(os.environ[name], target)
                self._environ[name] = f"/etc/ssl/{name}.pem"
        subprocess.run(["chroot", self._root, "useradd", "-m", USER], check=True)
        command = ["git", "-C", str(CLONE), "ls-files", "-z", "--cached"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            target = self._root / HOME[1:] / "launcher" / name
            if (CLONE / name).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CLONE / name, target)
        (self._root / HOME[1:] / "own").mkdir()
        subprocess.run(["chroot", self._root, "chown", "-R", f"{USER}:", HOME], check=True)

    def write(self, name: str, text: str) -> None:
        """Write a file below his home."""
        (self._root / HOME[1:] / name).write_text(text, encoding="utf-8")

    def terminal(self, command: str, folder: str = "launcher") -> subprocess.Popen[str]:
        """Type a command in a folder below his home."""
        typed = ["bash", "-c", f"cd ~/{folder} && {command}"]
        given = [f"{name}={value}" for name, value in self._environ.items()]
        inside = ["chroot", f"--userspec={USER}:{USER}", str(self._root), "env", "-i", *given]
        return subprocess.Popen(
            [*inside, *typed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C reaches all of its processes
        )

    def run(self, command: str, folder: str = "launcher", code: int = 0) -> str:
        """Type a command and wait for its end.

        :returns: what it printed.
        """
        process = self.terminal(command, folder)
        said, _ = process.communicate(timeout=LONGEST)
        assert process.returncode == code, f"{command}: {process.returncode}\n{said[-4000:]}"
        return said

    @contextmanager
    def serving(self, command: str, folder: str) -> Iterator[list[str]]:
        """Type a command that serves, wait until it is ready; Ctrl-C at the end.

        :returns: what it has printed until then.
        """
        process = self.terminal(command, folder)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.search(r"\btry:? +curl", line):
                break
        else:
            raise AssertionError(f"{command} ended:\n{''.join(lines)[-4000:]}")
        try:
            yield lines
            os.killpg(process.pid, signal.SIGINT)
            said, _ = process.communicate(timeout=LONGEST)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert process.returncode == 0, f"{command}: {process.returncode}\n{said[-4000:]}"


def main() -> None:
    """Play it all."""
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if INSIDE not in os.environ:
        command = [*APART, sys.executable, "-m", "tests.first_five_minutes", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with tempfile.TemporaryDirectory(prefix="first-five-minutes-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6g", "tmpfs", root], check=True)
        try:
            with step("a system with Python"):
                files = bare_system(kept or Path(folder), root / "made")
                subprocess.run(["tar", "-C", root, "-xf", files], check=True)
            play(Room(root, port()))
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", root], check=True)


def port() -> int:
    """A port that is free on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def play(room: Room) -> None:
    """Do what README says, in its order."""
    readme = Readme()
    room.furnish()
    with step("set up, serve and ask fixtures/iris"), room.serving(readme.set_up, "launcher"):
        curl = readme.curl.replace("127.0.0.1:5000", room.address)
        said = room.run(curl.replace("curl", "curl -sS", 1))
        assert json.loads(said) == json.loads(readme.answer), said
    with step(readme.get_mlflow):
        room.run(f"python3 -m venv v && . v/bin/activate && uv {readme.get_mlflow}", "own")
    with step("log a model of one's own"):
        rows = "X.drop_duplicates().to_csv('rows.csv', index=False)\n"
        room.write("own/train.py", readme.train + rows)
        run = room.run(". v/bin/activate && python train.py", "own").split()[-1]
        assert re.fullmatch("[0-9a-f]{32}", run), run
    with step(readme.serve_own):
        command = readme.serve_own.replace("RUN_ID", run)
        with room.serving(command, "own") as lines:
            typed = re.sub(r"^.*?try:? +(?=curl)", "", lines[-1]).strip()
            assert room.address in typed, typed
            answer = json.loads(room.run(typed.replace("curl", "curl -sS", 1), "own"))
            assert answer["predictions"] == [0, 0], answer
    with step(readme.predict):
        command = readme.predict.replace("RUN_ID", run) + " -o out.csv"
        room.run(command, "own")
        assert len(room.run("cat out.csv", "own").splitlines()) > 100
    with step(readme.doctor):
        said = room.run(readme.doctor.replace("URI", f"runs:/{run}/iris"), "own")
        assert "missing" not in said, said
    with step("what is mistyped"):
        said = room.run("launcher serve -m fixtures/iris --worker 2", code=2)
        assert "--workers" in said, said
        said = room.run("launcher serve fixtures/iris", code=2)
        assert "-m fixtures/iris" in said, said
        said = room.run(f"launcher serve -m runs:/{run}/iriss", "own", code=2)
        assert "Error: " in said, said


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:6.1f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
