"""A model without a library: its environment is what serving needs, so that an image is small."""

from __future__ import annotations

from pathlib import Path

LOADER = """
import os, subprocess, sys, time

class Model:
    def predict(self, data):
        command = str(data["command"].iloc[0])
        if command.startswith("sleep "):
            time.sleep(float(command.split()[1]))
        if command == "orphan":
            subprocess.Popen(["/bin/sh", "-c", "sleep 1 &"]).wait()
        if command == "user":
            return [os.getuid(), sys.version_info[1]]
        return ["{answer}"]

def _load_pyfunc(path):
    time.sleep(float(os.environ.get("TINY_LOAD_SECONDS", "0")))
    return Model()
"""


def tiny_model(
    folder: Path, *, answer: str = "done", python: str = "3.11", requirements: str = ""
) -> Path:
    """Make the model; ``answer`` is what it predicts, so that versions can be told apart."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "tiny_loader.py").write_text(LOADER.replace("{answer}", answer))
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: tiny_loader\n    code: code\n"
        f"    python_version: '{python}'\n"
        "utc_time_created: '2026-11-01 12:00:00.000000'\n"
        "run_id: 0123abcd\nmlflow_version: 3.17.2\n"
    )
    (folder / "requirements.txt").write_text(requirements)
    return folder
