"""Models whose libraries use GNU's OpenMP while they load: a fork alone would hang in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import Launcher, ObedientModel, command, invoke

ROOT = Path(__file__).resolve().parents[3]
SUM = """
#include <omp.h>
int team(void) {
    int members = 0;
    #pragma omp parallel num_threads(4)
    {
        #pragma omp atomic
        members += 1;
    }
    return members;
}
"""
LOADER = """
import ctypes
from pathlib import Path

LIBRARY = ctypes.CDLL(str(Path(__file__).with_name("team.so")))


class Model:
    def predict(self, data):
        return [LIBRARY.team()]


def _load_pyfunc(path):
    assert LIBRARY.team() == 4
    return Model()
"""


@pytest.fixture
def parallel_model(obedient: ObedientModel) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no compiler to make a library that uses OpenMP: apt-get install gcc")
    code = obedient.path / "code"
    (code / "team.c").write_text(SUM)
    built = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-fopenmp", "-o", code / "team.so", code / "team.c"],
        check=False,
    )
    if built.returncode != 0:
        pytest.skip("the compiler here has no OpenMP: apt-get install gcc")
    (code / "obedient_model.py").write_text(LOADER)
    return obedient.path


def test_a_model_that_used_openmp_while_it_loaded_answers(
    launch: Callable[..., Launcher], parallel_model: Path
) -> None:
    launcher = launch(
        *("serve", "-m", parallel_model, "-p", "0", "--env-manager", "local", "--timeout", "20")
    )
    answer = invoke(launcher.ready(), command("x"))
    assert (answer.status_code, answer.json()) == (200, {"predictions": [4]})
    launcher.stop()


def test_an_openmp_that_cannot_end_its_threads_is_found_out(parallel_model: Path) -> None:
    """A release before GCC 9 has no way to; here it is not found."""
    script = f"""
import ctypes, sys, time
sys.path.insert(0, {str(ROOT)!r})
from scoring_server.model import fork_safety
library = ctypes.CDLL({str(parallel_model / "code" / "team.so")!r})
assert fork_safety.fork_hazards() == []
assert library.team() == 4
fork_safety._OMP_PAUSE = "no_such_function"
deadline = time.monotonic() + 20
while not fork_safety.fork_hazards():  # its threads spin before they wait in the kernel
    assert time.monotonic() < deadline
print(*fork_safety.fork_hazards())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "threads of libgomp" in done.stdout
