"""On what was measured: the processor, the libraries' threads, releases, the revision."""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.installing import ROOT, install, versions
from benchmarks.peers.registry import FILE_READERS, PEERS
from benchmarks.scenarios.plan import Plan, inside

# Packages whose releases go into the record.
RECORDED = (
    *("mlflow", "mlserver", "litserve", "bentoml", "ray", "fastapi", "uvicorn", "uvloop"),
    *("httptools", "duckdb", "polars", "pyarrow", "xgboost", "lightgbm", "scikit-learn", "scipy"),
    *("numpy", "pandas", "orjson"),
)
# What numpy, OpenBLAS and the tree libraries choose their code by.
FEATURES = ("sse4_2", "avx", "avx2", "fma", "bmi2", "avx512f", "avx512_vnni", "amx_tile", "sve")


def machine(plan: Plan) -> dict[str, object]:
    """What the results depend on besides the releases."""
    model, flags = _processor()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "revision": _revision(),
        "processors": psutil.cpu_count(),
        "processor": model,
        "features": ", ".join(
            f"{'' if each in flags else 'no '}{each}" for each in FEATURES if flags
        ),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": psutil.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": _blas(plan),
    }


def releases(plan: Plan) -> dict[str, dict[str, str]]:
    """The releases of each environment."""
    found = {}
    for peer in (*(PEERS[name] for name in plan.peers), FILE_READERS):
        if peer.environment_name not in found:
            installed = versions(install(peer, plan.cache))
            found[peer.environment_name] = {
                each: installed[each] for each in RECORDED if each in installed
            }
    return found


def _processor() -> tuple[str, set[str]]:
    """Its name, and its flags, of the first processor; Linux only."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except FileNotFoundError:
        return platform.processor(), set()
    pairs = (line.partition(":") for line in text.splitlines())
    lines = {name.strip(): said.strip() for name, _, said in pairs}
    flags = lines.get("flags") or lines.get("Features") or ""
    return lines.get("model name", platform.machine()), set(flags.split())


def _revision() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _blas(plan: Plan) -> str:
    """What each environment's Python says of its libraries, with the servers' variables."""
    said: dict[str, list[str]] = {}
    one_of_each = {PEERS[name].environment_name: name for name in plan.peers}
    for name in one_of_each.values():
        pools: list[dict[str, Any]] = inside(install(PEERS[name], plan.cache), "blas")
        texts = {
            f"{each['internal_api']} {each['version'] or ''} {each['architecture'] or ''}".strip()
            + f", {each['num_threads']} thread" + ("s" if each["num_threads"] > 1 else "")
            for each in pools
        }  # fmt: skip
        said.setdefault("; ".join(sorted(texts)), []).append(PEERS[name].environment_name)
    most = max(said, key=lambda text: len(said[text]))
    others = [
        f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in said.items() if text != most
    ]
    return most + (f" (but {'; '.join(others)})" if others else "")
