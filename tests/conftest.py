"""Fixtures shared by all tests: one launcher home, the real models, interpreters, no leftovers."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
REAL_MODELS = ROOT / "fixtures" / "models"
PR_SET_CHILD_SUBREAPER = 36
# What takes longest comes first: at the end each of pytest-xdist's processes has something to do.
DEAR = [
    *("scoring_server/test_versions.py", "envs/test_real_models.py"),
    *("launcher/artifacts/test_mlflow.py", "launcher/images/test_images.py"),
    *("scoring_server/test_flavors.py", "launcher/commands/test_every_model.py"),
    *("scoring_server/test_differential.py", "scoring_server/test_open_inference.py"),
    *("envs/conda/test_failures.py", "launcher/artifacts/test_stores.py"),
    *("faults/test_faults.py", "fuzz/test_fuzz.py", "launcher/engines/mlserver/test_faults.py"),
    *("launcher/images/test_contexts.py", "launcher/instances/test_commands.py"),
    *("launcher/supervision/test_logs_and_limits.py", "envs/test_durability.py"),
    *("launcher/commands/test_serving.py", "launcher/artifacts/test_bounds.py"),
    *("envs/conda/test_lock.py", "envs/conda/test_build.py", "envs/conda/test_serve.py"),
]
# A busy machine is slow to make examples; that says nothing about them.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure() -> None:
    # Orphans of the processes under test become children of this one, where a leak is seen.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # `nohup` and a shell's `&` ignore signals, which the processes under test would inherit. A
    # handler that does nothing is as good for this process, and not inherited.
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(DEAR)}
    items.sort(key=lambda item: places.get(item.path, len(DEAR)))


@pytest.fixture(scope="session", autouse=True)
def launcher_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's LAUNCHER_HOME, shared so that an environment is built once for all tests.

    pytest-xdist's processes share it, too: a test that asks what runs there, or what has been built
    there, has a home of its own. Set LAUNCHER_TEST_HOME to keep it between runs.
    """
    kept = os.environ.get("LAUNCHER_TEST_HOME")
    shared = Path(kept) if kept else _of_all_processes(tmp_path_factory)
    home = shared / "home"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAUNCHER_HOME", str(home))
        patch.setenv("UV_CACHE_DIR", str(shared / "uv-cache"))
        # What a process that was killed leaves behind goes with the tests' other folders.
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        for name in list(os.environ):
            # Without bytecode, each of a thousand processes would compile all that it imports.
            if name.startswith("MLFLOW_") or name == "PYTHONDONTWRITEBYTECODE":
                patch.delenv(name)
        yield home


def _of_all_processes(factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of this run, the same for all processes of pytest-xdist."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "launcher-homes"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fail a test that leaves a process running (zombies included); end what it left."""
    this = psutil.Process()
    before = {child.pid for child in this.children(recursive=True)}
    yield
    left = [child for child in this.children(recursive=True) if child.pid not in before]
    # A process that was already told to end may need a moment for it.
    _, left = psutil.wait_procs(left, timeout=5)
    described = [f"{child.pid}: {child.status()} {child.name()}" for child in left]
    for child in left:
        child.kill()
    assert not described, f"processes left behind: {described}"


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real models, logged by MLflow 1.10 to 3.17 on Python 3.7 to 3.13."""
    return REAL_MODELS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run as root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here: run as root, with CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
