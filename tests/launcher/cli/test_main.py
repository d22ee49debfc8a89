"""What the command line says to somebody who does not know it yet."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli.main import main
from tests.launcher.launcher_process import run_to_end


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["servr"], "No such command 'servr'. Did you mean 'serve'?"),
        (["something"], "No such command 'something'."),
        (["serve", "fixtures/iris"], "The model goes there: -m PATH"),
        (["serve", "--modl-uri", "x"], "--model-uri"),
        (["serve", "fixtures/iris"], "Here: launcher serve -m fixtures/iris"),
        (["predict", "models:/iris@champion"], "Here: launcher predict -m models:/iris@champion"),
        (["serve", "-m", "x", "y"], "Got unexpected extra argument (y)."),
        (["generate-manifest", "x"], "goes after -m: launcher generate-manifest -m x"),
        (["fixtures/iris"], "To serve a model: launcher serve -m fixtures/iris"),
        (["models:/iris@champion"], "To serve a model: launcher serve -m models:/iris@champion"),
        (["models", "serve", "-m", "x"], "`launcher serve` is what MLflow calls `models serve`."),
        (["models", "build-docker"], "`launcher build-docker` is what MLflow calls"),
        (["models", "shw"], "Did you mean 'show'?"),
        (["serve", "--pip-requirements-override", "x"], "predict has it."),
        (["prepare-env", "--port", "1"], "serve has it."),
        (["serve", "--num-workers", "2"], "It is called --workers here."),
        (["serve", "--daemon"], "It is called --detach here."),
        (["serve", "-m", "x", "--debug"], "It goes before the command: launcher --debug ... serve"),
        (
            ["serve", "-m", "x", "-h"],
            "It is the host here, as in MLflow; --help shows the options.",
        ),
        (["ping"], "The server's address goes there: launcher ping http://127.0.0.1:5000."),
        (["call"], "A URL or a name of `launcher ps` goes there"),
        (["ps", "--jsn"], "--json"),
    ],
)
def test_what_is_nearly_right_is_told_how_it_is_right(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="launcher")
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("command", [[], ["ps"], ["envs", "prune"], ["predict"], ["serve"]])
def test_help_is_short_too(command: list[str]) -> None:
    short, long = (CliRunner().invoke(main, [*command, flag]) for flag in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output


def test_h_is_the_host_where_there_is_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", "-m", str(tmp_path), "-h"])
    assert "requires an argument" in result.output


def test_a_slow_server_has_its_time_for_one_question() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                asked.wait(0.3)  # longer than a question used to have
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        asked = threading.Event()
        server = threading.Thread(target=answer)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert CliRunner().invoke(main, ["ping", url]).exit_code == 0
        server.join()
        # Nobody accepts any more: the time that was asked for is what it takes.
        result = CliRunner().invoke(main, ["ping", url, "--timeout", "0.2"])
        assert result.exit_code == 1
        assert "no answer within 0.2 s" in result.output


@pytest.mark.parametrize("name", ["envs", "scoring_server"])
def test_another_package_of_one_of_our_names_is_found_out_at_the_start(
    name: str, tmp_path: Path
) -> None:
    """Row D15: one line, and no traceback."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run_to_end("ps", env=environ, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Another package named {name!r} is in the place of")
    assert str(tmp_path) in done.stderr
    assert "pipx" in done.stderr
    assert len(done.stderr.splitlines()) == 1
