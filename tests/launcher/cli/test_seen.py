"""What a person sees of ``serve`` on a real terminal, and what a program reads elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.launcher_process import (
    Launcher,
    ObedientModel,
    command,
    invoke,
    serve_locally,
)

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


class OnATerminal:
    """A launcher whose terminal is ours."""

    def __init__(self, model: Path, columns: int = 80, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns)
        arguments = ("serve", "-m", str(model), "-p", "0", "--env-manager", "local")
        environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**environ, "TERM": "xterm", **variables}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.raw = self.shown = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_until(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.shown)):
            self._read()
        return found

    def end(self) -> int:
        """Ctrl-C; its exit code, once all that it wrote has been read."""
        self.process.send_signal(signal.SIGINT)
        try:
            while True:
                self._read()
        except OSError:  # Linux: the other side is closed
            os.close(self._ours)
        return self.process.wait(timeout=60)

    def _read(self) -> None:
        piece = os.read(self._ours, 65536)
        if not piece:
            raise OSError
        self.raw += piece.decode(errors="replace")
        # Without what makes it bold or coloured.
        self.shown = re.sub(r"\x1b\[[\d;]*m", "", self.raw).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_has_a_clock_and_then_all_that_one_needs(
    obedient: ObedientModel, columns: int
) -> None:
    obedient.hold("load")
    seen = OnATerminal(obedient.path, columns)
    # The clock of what is under way moves, though nothing happens.
    seen.read_until(r"loading the model\s+\S*0:00:0[01]")
    seen.resize(columns + 20)
    seen.read_until(r"loading the model\s+\S*0:00:0[2-5]")
    obedient.let_go("load")
    url = seen.read_until(r"\nready: (http://\S+)\n")[1]
    seen.read_until(r"\nstop: .*launcher stop \S+\n")
    block = seen.shown[seen.shown.index("ready: ") :]
    named = dict(re.findall(r"^(\w+): +(.*)$", block, re.MULTILINE))
    assert named["page"] == f"{url}/"
    assert (named["name"], named["model"]) == ("obedient", "obedient")
    assert Path(named["log"]).is_absolute()
    assert named["stop"] == "Ctrl-C, or: launcher stop obedient"
    assert seen.end() == 0
    assert seen.shown.count(HIDE_CURSOR) >= 1
    assert seen.shown.rindex(SHOW_CURSOR) > seen.shown.rindex(HIDE_CURSOR)


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_titles_are_bold_where_that_is_wanted(
    obedient: ObedientModel, variables: dict[str, str]
) -> None:
    seen = OnATerminal(obedient.path, **variables)
    seen.read_until(r"\nstop: .*\n")
    assert seen.end() == 0
    assert ("\x1b[1mready:\x1b[0m http" in seen.raw) is not bool(variables)


def test_ctrl_c_while_it_loads_leaves_a_sane_terminal(obedient: ObedientModel) -> None:
    obedient.hold("load")
    seen = OnATerminal(obedient.path)
    seen.read_until("loading the model")
    obedient.wait_until_held("load")
    assert seen.end() == 0
    assert seen.shown.rindex(SHOW_CURSOR) > seen.shown.rindex(HIDE_CURSOR)


def test_a_pipe_gets_plain_lines_and_no_block(
    launch: Callable[..., Launcher], obedient: ObedientModel
) -> None:
    launcher = serve_locally(launch, obedient)
    launcher.ready()
    assert launcher.stop() == 0
    assert "\x1b" not in launcher.output
    assert not re.search(r"^(page|name|log|stop): ", launcher.output, re.MULTILINE)


def test_a_json_log_is_json_on_every_line(
    launch: Callable[..., Launcher], obedient: ObedientModel
) -> None:
    """Row D8: what the model and its tracebacks print, too; on the console and in the file."""
    loader = obedient.path / "code" / "obedient_model.py"
    loader.write_text(loader.read_text() + "\nprint('hello from the model', flush=True)\n")
    launcher = serve_locally(launch, obedient, "--log-format", "json", "--access-log")
    url = launcher.wait_for(r'"url": "(\S+?)"')[1]
    assert invoke(url, command("raise")).status_code == 400
    launcher.wait_for('"event": "request"')
    assert launcher.stop() == 0
    entries = [json.loads(line) for line in launcher.lines]
    ready = next(entry for entry in entries if entry["event"] == "ready")
    assert (ready["message"], ready["name"]) == (f"ready: {url}", "obedient")
    assert any(
        (entry["event"], entry["message"]) == ("output", "hello from the model")
        for entry in entries
        if entry["event"] != "request"
    )
    kept = [json.loads(line) for line in Path(ready["log"]).read_text().splitlines()]
    assert {"output", "request"} <= {entry["event"] for entry in kept}
    assert all(re.fullmatch(r"[-\d]+T[:\d]+\.\d{3}Z", entry["time"]) for entry in kept)


def test_an_empty_log_does_not_stay(
    launch: Callable[..., Launcher], obedient: ObedientModel, fresh_home: dict[str, str]
) -> None:
    launcher = serve_locally(launch, obedient)
    launcher.ready()
    assert launcher.stop() == 0
    silent = launch(
        "serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", environ=fresh_home
    )
    silent.ready()
    assert silent.stop() == 0
    logs = Path(fresh_home["LAUNCHER_HOME"]) / "logs"
    assert [each.name for each in logs.glob("serve-*") if not each.stat().st_size] == []
