"""Environments for the peers and the models they serve, kept below one cache folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from benchmarks.peers import PYTHON, Peer
from benchmarks.peers.registry import PEERS

ROOT = Path(__file__).resolve().parents[1]
# Scripts that the models' environments run.
IN_ENVIRONMENT = Path(__file__).with_name("in_environment")
INSTALL_SECONDS = 1800
MODEL_SECONDS = 300


def install(peer: Peer, cache: Path) -> Path:
    """Install a peer, unless it is there already; the path of its environment's interpreter.

    The launcher's own environment is made by `launcher prepare-env` and its path asked for.
    """
    if not peer.requirements:
        return install_launcher(model_for(peer, "logistic", cache), cache)
    folder = cache / peer.environment_name
    python = folder / "bin" / "python"
    done = folder / "installed.json"
    wanted = json.dumps([list(peer.requirements), peer.exclude_newer])
    if done.is_file() and done.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {peer.title}", file=sys.stderr)
    run_uv("venv", "--quiet", "--python", PYTHON, str(folder))
    newest = ["--exclude-newer", peer.exclude_newer] if peer.exclude_newer else []
    run_uv("pip", "install", "--quiet", "--python", str(python), *newest, *peer.requirements)
    done.write_text(wanted)
    return python


def install_launcher(model: Path, cache: Path, python: str | Path = sys.executable) -> Path:
    """Have the launcher build the environment of a model; the path of its interpreter.

    :param python: the interpreter that has the launcher.
    """
    done = subprocess.run(
        [str(python), "-m", "launcher", "prepare-env", "-m", str(model)],
        cwd=cache,
        env=launcher_environ(cache),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=INSTALL_SECONDS,
    )
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return Path(lines["path"].strip()) / "bin" / "python"


def launcher_environ(cache: Path) -> dict[str, str]:
    """The environment variables with which the launcher is run."""
    # What is installed has its bytecode; a checkout may be told not to write any.
    unwanted = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "LAUNCHER_HOME": str(cache / "launcher-home")}


def run_uv(*arguments: str) -> None:
    """Run uv to its end; its own message says what went wrong."""
    subprocess.run([uv.find_uv_bin(), *arguments], check=True, timeout=INSTALL_SECONDS)


def model_for(peer: Peer, kind: str, cache: Path) -> Path:
    """The folder of a model (a KIND of `models.py`) that the peer's environment can load."""
    # The others have the releases of MLflow's environment, and can read what it logs.
    maker = peer if peer.own_model else PEERS["mlflow"]
    folder = cache / "models" / f"{kind}-{maker.environment_name}"
    if not (folder / "MLmodel").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        script = str(IN_ENVIRONMENT / "models.py")
        python = install(maker, cache)
        subprocess.run([str(python), script, kind, str(folder)], check=True, timeout=MODEL_SECONDS)
    return folder


def versions(python: Path) -> dict[str, str]:
    """The releases in an environment, for the record."""
    listed = subprocess.run(
        [uv.find_uv_bin(), "pip", "list", "--format=json", "--python", str(python)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return {each["name"]: each["version"] for each in json.loads(listed.stdout)}
