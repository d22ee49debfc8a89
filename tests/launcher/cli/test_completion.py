"""``launcher completion``, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli.main import main

# What readline does with the words of a line, the last of which is completed.
IN_BASH = """
source ./script
complete -p launcher
for line in "$@"; do
    read -ra COMP_WORDS <<< "$line"
    [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
    _launcher_completion launcher
    echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The folder of bash's script."""
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert result.exit_code == 0
    assert "For each new one:" in result.output
    (tmp_path / "script").write_text(result.output)
    return tmp_path


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here: apt-get install bash")
def test_bash_completes_commands_options_and_choices(script: Path) -> None:
    binary = Path(sys.executable).parent
    key = "0123456789abcdef0123"
    (script / "home" / "envs" / key).mkdir(parents=True)
    ends = ("gen", "envs pru", "serve --max-body", "serve --loader ", f"envs show {key[:4]}")
    done = subprocess.run(
        ["bash", "--norc", "-c", IN_BASH, "bash", *(f"launcher {end}" for end in ends)],
        cwd=script, capture_output=True, text=True, check=True,
        env={
            **os.environ,
            "PATH": f"{binary}:{os.environ['PATH']}",
            "LAUNCHER_HOME": str(script / "home"),
        },
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _launcher_completion launcher",
        "generate-dockerfile generate-manifest",
        "prune",
        "--max-body",
        "auto mlflow",
        key,
    ]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_LAUNCHER_COMPLETE" in result.output
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here: apt-get install {shell}")
    done = subprocess.run(
        [shell, "-n"], input=result.output, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
