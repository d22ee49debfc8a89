"""Real images: bases made by debootstrap, built by buildah, run by podman.

Nothing is kept outside of the folder that it is given, and nothing is pulled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bare_system import bare_system

BASE = "localhost/python:3.11-slim"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
LONGEST = 120.0

_MISSING = [each for each in PROGRAMS if shutil.which(each) is None]
needs_builders = pytest.mark.skipif(
    bool(_MISSING) or os.geteuid() != 0,
    reason=f"run as root; apt-get install {' '.join(_MISSING or PROGRAMS)}",
)


def certificates() -> Path | None:
    """The certificates that this machine reaches package indexes with, where it has its own."""
    named = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named else None


class Images:
    """Images in a storage of their own below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # In memory where that can be: what makes images waits for the disk at each file.
        memory = ["mount", "-t", "tmpfs", "-o", "size=6g", "tmpfs", str(folder)]
        subprocess.run(memory, check=False, capture_output=True)
        self.graph = folder / "graph"
        settings = folder / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.graph}"\nrunroot = "{folder}/run"\n'
        )
        self.environ = {**os.environ, "CONTAINERS_STORAGE_CONF": str(settings)}

    def run(self, *command: str | Path) -> str:
        """Run a program on this storage; its standard output."""
        ended = subprocess.run(
            list(map(str, command)),
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert ended.returncode == 0, f"{command}:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}"
        return ended.stdout.strip()

    def make_base(self, kept: Path) -> str:
        """An image with Debian's own Python, 3.11, and pip.

        :param kept: a folder for its files, so that they are fetched once for all storages.
        """
        files = bare_system(kept, self.folder / "root")
        return self.add("scratch", files, "/", BASE)

    def make_base_of(self, python: Path, base: str, name: str) -> str:
        """The base with another Python, from the folder that it is installed in."""
        return self.add(base, python, "/usr/local", name)

    def add(self, base: str, files: Path, target: str, name: str) -> str:
        """An image of another one and a folder or an archive, laid over it at ``target``."""
        container = self.run("buildah", "from", "--pull-never", base)
        self.run("buildah", "add", "--quiet", container, files, target)
        # For the libraries that were copied.
        self.run("buildah", "run", "--isolation", "chroot", container, "ldconfig")
        path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        self.run("buildah", "config", "--env", path, container)
        self.run("buildah", "commit", "--quiet", "--rm", container, name)
        return name

    def build(
        self,
        *arguments: str | Path,
        environ: dict[str, str] | None = None,
        more: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """``launcher build-docker`` with buildah, and ``more`` options of its."""
        options = ["--pull-never", "--isolation", "chroot", *more]
        own: list[str] = []
        certs = certificates()
        if certs is not None:
            options += ["--volume", f"{certs}:{certs}:ro"]
            for name in ("PIP_CERT", "SSL_CERT_FILE"):
                own += ["--build-arg", f"{name}={certs}"]
        command = [sys.executable, "-m", "launcher", "build-docker", "--builder", "buildah"]
        return subprocess.run(
            [*command, *map(str, arguments), *own, "--", *options],
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def layers(self, image: str) -> list[str]:
        found: list[str] = self.inspect(image)["RootFS"]["Layers"]
        return found

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("podman", "inspect", image))[0]
        return found

    @contextlib.contextmanager
    def container(
        self, image: str, *options: str | Path, command: tuple[str, ...] = ("serve",)
    ) -> Iterator[Container]:
        """A container that runs, on a port of its own, and is gone at the end."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = Container(self, port, image, options, command)
        try:
            yield started
        finally:
            self.run("podman", "rm", "--force", "--time", "0", started.id)

    def remove(self) -> None:
        """Remove all of it."""
        self.run("podman", "rmi", "--all", "--force")
        for mount in (self.graph / "overlay", self.folder):
            subprocess.run(["umount", mount], check=False, capture_output=True)


class Container:
    """A container that was started, with the host's network, on the loopback address."""

    def __init__(
        self,
        images: Images,
        port: int,
        image: str,
        options: tuple[str | Path, ...],
        command: tuple[str, ...],
    ) -> None:
        self.images = images
        self.url = f"http://127.0.0.1:{port}"
        run = ["podman", "run", "--detach", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        run += ["--network", "host", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
        run += ["--env", "MLFLOW_HOST=127.0.0.1", "--env", f"PORT={port}"]
        self.id = images.run(*run, *options, image, *command)

    def ready(self) -> str:
        """Wait until it is; its URL."""
        deadline = time.monotonic() + LONGEST
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/ping", timeout=10).status_code == 200:
                    return self.url
            assert self.is_running, f"it has ended:\n{self.logs()}"
            assert time.monotonic() < deadline, f"not ready:\n{self.logs()}"
            time.sleep(0.05)

    def ask(self, command: str = "") -> requests.Response:
        body = {"dataframe_records": [{"command": command}]}
        return requests.post(f"{self.url}/invocations", json=body, timeout=60)

    @property
    def is_running(self) -> bool:
        return bool(self._state["Status"] == "running")

    @property
    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.images.inspect(self.id)["State"]
        return found

    def processes(self) -> list[str]:
        """The states and commands of what runs in it."""
        return self.images.run("podman", "top", self.id, "state", "args").splitlines()[1:]

    def stop(self) -> int:
        """Tell it to stop as a platform does; the exit code."""
        self.images.run("podman", "stop", "--time", "30", self.id)
        code: int = self._state["ExitCode"]
        return code

    def logs(self) -> str:
        ended = subprocess.run(
            ["podman", "logs", self.id],
            env=self.images.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.stdout
