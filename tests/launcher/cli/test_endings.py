"""Exit codes, readers that go early, and JSON for programs: what a script relies on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_commands import contexts
from launcher import errors
from tests.launcher.artifacts.servers import free_port
from tests.launcher.images.tiny_model import tiny_model
from tests.launcher.launcher_process import run_to_end

ROOT = Path(__file__).resolve().parents[3]
# These print what they print in another form than lists and pages: a file, a program's own output,
# a line that says what has been done.
NOT_LISTING = {
    "build-docker", "completion", "envs run", "generate-dockerfile", "generate-manifest", "logs",
    "predict", "reload", "stop",
}  # fmt: skip


def test_every_command_that_lists_or_shows_has_json() -> None:
    without = set()
    for context in contexts():
        name = context.command_path.removeprefix("launcher ")
        if not any("--json" in option.opts for option in context.command.params):
            without.add(name)
    assert without == NOT_LISTING


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps",),
        ("envs", "list"),
        ("envs", "prune", "--dry-run"),
        ("models", "list"),
        ("models", "prune", "--dry-run"),
        ("serve", "-m", "MODEL", "--dry-run", "--env-manager", "local"),
        ("prepare-env", "-m", "MODEL", "--env-manager", "local"),
        ("ping", "http://127.0.0.1:9"),
    ],
)
def test_json_is_all_of_standard_output(arguments: tuple[str, ...], tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "tiny"))
    words = [model if each == "MODEL" else each for each in arguments]
    done = run_to_end(*words, "--json", env={**os.environ, "LAUNCHER_HOME": str(tmp_path / "home")})
    assert isinstance(json.loads(done.stdout), (dict, list)), done.stderr


def test_exit_codes_are_those_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \|", page.partition("## Exit codes")[2], re.MULTILINE)
    kinds = [errors.LauncherError, *errors.LauncherError.__subclasses__()]
    ours = {kind.exit_code for kind in kinds}
    assert {int(each) for each in told} == {0, *ours, 130, 141, 143}

    model = tiny_model(tmp_path / "tiny", requirements="no-such-package==1.0")
    home = {**os.environ, "LAUNCHER_HOME": str(tmp_path / "home")}

    def code(*arguments: str) -> int:
        done = run_to_end(*arguments, env=home)
        assert done.returncode == 0 or re.search(r"^Error: [A-Z].*\.$|not ready", done.stderr, re.M)
        assert "Traceback" not in done.stderr
        return done.returncode

    assert code("ps") == 0
    assert code("ping", f"http://127.0.0.1:{free_port()}") == 1
    assert code("serve") == 2
    assert code("serve", "-m", str(tmp_path)) == 2
    assert code("prepare-env", "-m", str(model), "--offline") == 3
    # 4 and 5: test_serving, test_processes; 130: test_commands.


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("serve", "--help"), ("ps",), ("envs", "list"), ("completion", "fish")],
)
def test_a_reader_that_goes_early_is_told_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "LAUNCHER_HOME": str(tmp_path / "home")},
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE
