"""A model folder's description: a Model or a ModelError, soon and in little memory."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import ModelError
from launcher.model.mlmodel import read_model
from tests.fuzz.target import Input, Target, files_of, write_files

# By number in an input (`files_of`).
NAMES = (
    "MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json",
    "serving_input_example.json",
)  # fmt: skip


def prepare(folder: Path) -> Input:
    def take(data: bytes) -> None:
        write_files(folder, files_of(data, NAMES))
        try:
            read_model(folder)
        except ModelError:
            return

    return take


TARGET = Target(
    prepare,
    longest=8192,
    seconds=5.0,
    words=(
        "flavors:", "python_function:", "loader_module:", "signature:", "inputs:", "&a ", "*a",
        "<<: *a", "!!python/object", "!!binary", "!!timestamp", "env:", "conda:", "virtualenv:",
        "requirements:", "dependencies:", "- pip:", "build_dependencies:", "python:", "\n@@1\n",
        "\n@@2\n", "\n@@3\n", "\n@@4\n", "\n@@5\n", "utc_time_created:", "2020-01-01", "~", "[",
        "{", "saved_input_example_info:", "artifact_path:", "type: dataframe", "pandas_orient:",
        "../", "\\0", "1e999", "!!set", "? ", "|", ">", "%YAML 1.1", "---", "...",
    ),
)  # fmt: skip
