"""What environments cost: built cold, built warm, reused; beside bare uv doing the same.

Usage::

    python benchmarks/environments.py [--repeat 5] [REQUIREMENT...]
    python benchmarks/environments.py --models FOLDER [--resolve-as-of today]

The first form times one list of requirements on the running Python. "Bare uv" is ``uv venv`` and
``uv pip install`` of the same lines, in the same run and taking turns, so that a busy machine or
index slows both. The second builds the environment of every model in a folder and loads the model
in it, to show what resolving as of today breaks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uv

from envs import EnvError, EnvSpec, EnvStore, prepare
from envs.building.environ import clean_environ

LINES = ("scikit-learn", "pandas", "mlflow-skinny", "flask", "gunicorn", "pip", "setuptools")
REUSE = """
import sys
from pathlib import Path
from envs import EnvSpec, EnvStore, prepare
spec = EnvSpec(requirements=tuple(sys.argv[2:]), build_requirements=())
assert prepare(spec, store=EnvStore(Path(sys.argv[1]))).reused
"""
LOAD = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def build(home: Path, lines: tuple[str, ...]) -> None:
    """Build the environment of the lines in an empty store."""
    shutil.rmtree(home, ignore_errors=True)
    built = prepare(EnvSpec(requirements=lines, build_requirements=()), store=EnvStore(home))
    assert not built.reused


def bare_uv(folder: Path, lines: tuple[str, ...]) -> None:
    """Do with uv alone what `build` does, without list, lock, manifest or hashes."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder)]
    subprocess.run(command, check=True)
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(folder), *lines]
    subprocess.run(command, check=True)


def measure(lines: tuple[str, ...], repeat: int) -> list[tuple[str, float, float]]:
    """Return rows of (what, our median seconds, bare uv's or a bare Python's)."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        home, bare = Path(name, "home"), Path(name, "bare")
        for what, cold in (("cold build", True), ("warm build", False)):
            ours: list[float] = []
            theirs: list[float] = []
            for number in range(1 if cold else repeat):
                cache = str(Path(name, "uv-cache"))
                for times, action in ((ours, build), (theirs, bare_uv)):
                    os.environ["UV_CACHE_DIR"] = cache + action.__name__
                    if cold and number == 0:
                        shutil.rmtree(os.environ["UV_CACHE_DIR"], ignore_errors=True)
                    folder = home if action is build else bare
                    times.append(timed(lambda a=action, f=folder: a(f, lines)))  # type: ignore[misc]
            rows.append((what, statistics.median(ours), statistics.median(theirs)))
        reuse = [sys.executable, "-c", REUSE, str(home), *lines]
        start = [sys.executable, "-c", "pass"]
        # Installed packages have their bytecode; a checkout may be told not to write any.
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = str(Path(name, "bytecode"))
        pairs = [
            (
                timed(lambda: subprocess.run(reuse, check=True, env=environ)),
                timed(lambda: subprocess.run(start, check=True, env=environ)),
            )
            for _ in range(max(20, repeat))
        ]
        # The fastest: what is above it is the machine's other work.
        rows.append(("reuse", min(p[0] for p in pairs), min(p[1] for p in pairs)))
    return rows


def show(rows: list[tuple[str, float, float]], lines: tuple[str, ...]) -> None:
    """Print the table."""
    print(f"{len(lines)} requirements: {' '.join(lines)}\n")
    print(f"{'':<12}{'launcher':>10}{'bare uv':>10}{'ratio':>8}")
    for what, ours, theirs in rows:
        if what == "reuse":
            over = 1000 * (ours - theirs)
            print(f"{what:<12}{ours:>9.3f}s{'':>18}  {over:.0f} ms over `python -c pass`")
        else:
            print(f"{what:<12}{ours:>9.2f}s{theirs:>9.2f}s{ours / theirs:>8.2f}")


def models(folder: Path, resolve_as_of: str, home: Path) -> None:
    """Build every model's environment, load the model in it, and print how that went."""
    from launcher.commands.environment import EnvironmentOptions, environment_spec
    from launcher.engines.scoring_server import ScoringServer
    from launcher.model.mlmodel import read_model

    loaded = total = 0
    for path in sorted(p for p in folder.iterdir() if (p / "MLmodel").is_file()):
        total += 1
        model = read_model(path)
        spec = environment_spec(model, EnvironmentOptions(as_of=resolve_as_of), ScoringServer())
        try:
            built = prepare(spec, store=EnvStore(home))
        except EnvError as error:
            print(f"{path.name:<32} not built: {error.message[:150]}")
            continue
        done = subprocess.run(
            [built.python, "-c", LOAD, path], capture_output=True, text=True, env=clean_environ()
        )
        loaded += done.returncode == 0
        last = (done.stderr.strip().splitlines() or [""])[-1]
        outcome = "loads" if done.returncode == 0 else f"does not load: {last[:150]}"
        print(f"{path.name:<32} {built.python_version:<8} {outcome}", flush=True)
    print(f"\nresolved as of {resolve_as_of}: {loaded} of {total} load")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lines", nargs="*", metavar="REQUIREMENT")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--resolve-as-of", default="today")
    parser.add_argument("--home", type=Path, help="where the models' environments go")
    given = parser.parse_args()
    if given.models is None:
        lines = tuple(given.lines) or LINES
        show(measure(lines, given.repeat), lines)
    else:
        with tempfile.TemporaryDirectory() as name:
            models(given.models, given.resolve_as_of, given.home or Path(name))


if __name__ == "__main__":
    main()
