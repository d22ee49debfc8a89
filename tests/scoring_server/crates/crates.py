"""Crates that real R has made, and R itself as the oracle."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

RSCRIPT = shutil.which("Rscript")
needs_r = pytest.mark.skipif(
    RSCRIPT is None, reason="R is not here: apt-get install r-base-core r-cran-jsonlite"
)


def run_r(script: str | Path, *arguments: str | Path) -> str:
    """Run an R program, a file or its text; what it prints."""
    assert RSCRIPT is not None
    program = ["-e", script] if isinstance(script, str) else [str(script)]
    done = subprocess.run(
        [RSCRIPT, "--vanilla", *program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_crates(folder: Path) -> Path:
    """Have R write the models of `crates.R` into a folder."""
    run_r(Path(__file__).with_name("crates.R"), folder)
    return folder


def signature(**types: str) -> dict[str, Any]:
    """A signature of optional columns."""
    inputs = [{"name": name, "type": kind, "required": False} for name, kind in types.items()]
    return {"inputs": inputs, "outputs": None, "params": None}


def write_config(
    model: Path, path: Path, signature: dict[str, Any] | None = None, **server: Any
) -> Path:
    """Write a server's configuration for a crate; its path."""
    document = {
        "config_version": 1,
        "model": {
            "path": str(model),
            "flavor": "crate",
            "flavors": {"crate": {"version": "0.1.0", "model": "crate.bin"}},
            "signature": signature,
        },
        "environment": {"r": {"rscript": RSCRIPT, "version": "?", "packages": {}}},
        "server": {"scratch": str(path.parent), **server},
    }
    path.write_text(json.dumps(document))
    return path
