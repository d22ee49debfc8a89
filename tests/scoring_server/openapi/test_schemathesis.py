"""schemathesis, a client that tries to prove descriptions wrong, finds nothing at running servers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import requests

from tests.scoring_server.environments import build
from tests.scoring_server.openapi.signatures import write_echo_model
from tests.scoring_server.serving_process import serving

pytestmark = pytest.mark.slow

# It is a plugin of pytest, too, and so has an environment of its own.
SCHEMATHESIS = ["schemathesis>=4.32,<5"]
# All its checks are on. That columns are of one length no schema can say: such bodies are 400.
CONFIGURATION = """
[[operations]]
include-path-regex = "(infer|invocations)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
"""
EXAMPLES = 30


@pytest.mark.parametrize(
    "name", ["no_signature", "doubles", "optional_scalars", "nested", "params", "chat_payload",
             "tensor", "tensor_ragged", "tensors_named"],
)  # fmt: skip
def test_nothing_is_found(name: str, launcher_home: Path, tmp_path: Path) -> None:
    check(launcher_home, tmp_path, write_echo_model(tmp_path / "model", name))


def test_nothing_is_found_behind_a_token(launcher_home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame")
    config = write_echo_model(tmp_path / "model", "doubles", token_file=str(token))
    check(launcher_home, tmp_path, config, "sesame")


def check(home: Path, folder: Path, config: Path, token: str = "") -> None:
    """Run all its phases against a server, for all of the document's operations."""
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    options = [f"--header={name}: {value}" for name, value in bearer.items()]
    program = Path(build(home, None, SCHEMATHESIS)).with_name("schemathesis")
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    with serving(config) as (url, _):
        paths = requests.get(f"{url}/openapi.json", headers=bearer, timeout=60).json()["paths"]
        done = subprocess.run(
            [program, "run", f"{url}/openapi.json", f"--url={url}", "--seed=1", "--no-color",
             f"--max-examples={EXAMPLES}", "--phases=examples,coverage,fuzzing",
             "--checks=all", *options],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    # It leaves out the document that it reads.
    del paths["/openapi.json"]
    operations = sum(map(len, paths.values()))
    assert operations >= 12
    assert f"{operations} selected / {operations} total" in done.stdout
