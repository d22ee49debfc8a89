"""Tiny real packages, so that most tests build real environments without a network."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envs import Environment, EnvSpec, EnvStore, prepare
from envs.building.context import Context
from envs.building.interpreters import Interpreter, find_interpreter
from envs.building.log import BuildLog
from envs.errors import EnvError

MakeWheel = Callable[..., Path]


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    code: str = "",
) -> Path:
    """Write a wheel of one module into ``folder`` and return its path."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{name}.py": f"__version__ = {version!r}\n{code}",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def make_slow_sdist(folder: Path, name: str, seconds: float, version: str = "1.0") -> Path:
    """Write an sdist whose in-tree build backend runs ``sleep SECONDS`` in a process of its own.

    It stands for the compilers that real builds start. The marker makes it findable.
    """
    backend = f"""
        import subprocess, zipfile
        NAME, VERSION = {name!r}, {version!r}
        def build_wheel(directory, config_settings=None, metadata_directory=None):
            subprocess.run(["sleep", "{seconds}"], check=True)
            info = f"{{NAME}}-{{VERSION}}.dist-info"
            wheel = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
            with zipfile.ZipFile(f"{{directory}}/{{wheel}}", "w") as archive:
                archive.writestr(f"{{NAME}}.py", "")
                archive.writestr(
                    f"{{info}}/METADATA",
                    f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n",
                )
                archive.writestr(
                    f"{{info}}/WHEEL",
                    "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
                )
                archive.writestr(f"{{info}}/RECORD", "")
            return wheel
    """
    root = f"{name}-{version}"
    files = {
        f"{root}/backend.py": textwrap.dedent(backend),
        f"{root}/pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            f'[project]\nname = "{name}"\nversion = "{version}"\n'
        ),
        f"{root}/PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{root}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.fixture(scope="session", name="make_wheel")
def make_wheel_fixture() -> MakeWheel:
    return make_wheel


@pytest.fixture(scope="session", name="make_slow_sdist")
def make_slow_sdist_fixture() -> Callable[..., Path]:
    return make_slow_sdist


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A find-links folder: apple 1.0 and 2.0, banana 1.0 (needs apple), cherry 1.0."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "apple", "1.0")
    make_wheel(folder, "apple", "2.0")
    make_wheel(folder, "banana", "1.0", requires=("apple",))
    make_wheel(folder, "cherry", "1.0")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A launcher home of this test alone."""
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> EnvStore:
    return EnvStore(home)


@pytest.fixture
def local_spec(wheels: Path) -> Callable[..., EnvSpec]:
    """Make specs that resolve from the ``wheels`` folder alone, for the running Python."""

    def make(*requirements: str, **fields: object) -> EnvSpec:
        lines = ("--no-index", f"--find-links {wheels}", *requirements)
        return EnvSpec(requirements=lines, **{"build_requirements": (), **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> EnvStore:
    """A store that tests copy from, see `at_hand`."""
    return EnvStore(tmp_path_factory.mktemp("built-once"))


@pytest.fixture
def at_hand(
    store: EnvStore, built_once: EnvStore, local_spec: Callable[..., EnvSpec]
) -> Callable[..., Environment]:
    """Have the environment of a spec in this test's store, for tests of what becomes of it.

    It is built once for all tests, and copied.
    """

    def have(*requirements: str) -> Environment:
        spec = local_spec(*requirements)
        original = prepare(spec, store=built_once)
        with original.in_use():
            folder = store.folder(original.key)
            shutil.copytree(original.path.parent, folder, symlinks=True)
        manifest = folder / "manifest.json"
        text = manifest.read_text().replace(str(original.path), str(folder / "env"))
        manifest.write_text(text)
        copied = prepare(spec, store=store)
        assert copied.reused
        return copied

    return have


@pytest.fixture
def plain_index(tmp_path: Path) -> Iterator[str]:
    """An index that tells no upload times and wants a password; its URL has it."""
    folder = tmp_path / "index" / "apple"
    make_wheel(folder, "apple", "1.0")
    make_wheel(folder, "apple", "2.0")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Basic bWU6c2VzYW1l":  # me:sesame
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://me:sesame@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def interpreter(launcher_home: Path) -> Callable[[str], Interpreter]:
    """Find a Python as the launcher does; skip the test where this machine has none."""

    def find(version: str) -> Interpreter:
        log = BuildLog(launcher_home / "logs" / "test-discovery.log")
        try:
            return find_interpreter(
                version, Context(home=launcher_home, log=log, python_downloads=False)
            )
        except EnvError:
            pytest.skip(f"no Python {version} on this machine: uv python install {version}")

    return find


@pytest.fixture
def run_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python code in a process of its own that can import envs; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environ},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
