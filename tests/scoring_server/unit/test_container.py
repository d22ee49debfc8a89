"""The scoring server as a container's process 1, and its settings as variables."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from scoring_server.config import ConfigError, ServerConfig, ServerSettings
from scoring_server.container.cpu_limits import available_cpus
from scoring_server.container.variables import with_variables

ROOT = Path(__file__).resolve().parents[3]


def settings(environ: dict[str, str], **server: Any) -> ServerSettings:
    document = {"model": {"path": "/"}, "server": server, "settings_from_environment": True}
    return with_variables(ServerConfig.from_dict(document), environ).server


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PORT", "9000", "port", 9000),
        ("LAUNCHER_SERVE_PORT", "9001", "port", 9001),
        ("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "2.5", "timeout", 2.5),
        ("LAUNCHER_SERVE_TIMEOUT", "0", "timeout", None),
        ("MLFLOW_MODELS_WORKERS", "3", "workers", 3),
        ("LAUNCHER_SERVE_WORKERS", "auto", "workers", available_cpus()),
        ("LAUNCHER_SERVE_BATCH_WAIT", "5", "batch_wait", 0.005),
        ("LAUNCHER_SERVE_MAX_BATCH_ROWS", "auto", "max_batch_rows", "auto"),
        ("LAUNCHER_SERVE_BATCH_TOLERANCE", "1e-9", "batch_tolerance", 1e-9),
        ("LAUNCHER_SERVE_WORKER_MEMORY", "1.5GiB", "worker_memory", 3 << 29),
        ("LAUNCHER_SERVE_MAX_BODY", "10", "max_body", 10),
        ("LAUNCHER_SERVE_ACCESS_LOG", "true", "access_log", True),
        ("LAUNCHER_SERVE_PRELOAD", "off", "preload", False),
        ("LAUNCHER_SERVE_TOKEN_FILE", "/run/secrets/token", "token_file", "/run/secrets/token"),
        ("LAUNCHER_SERVE_LOG_FORMAT", "json", "log_format", "json"),
    ],
)
def test_a_variable_sets_what_the_option_of_its_name_does(
    variable: str, text: str, field: str, value: Any
) -> None:
    assert getattr(settings({variable: text}), field) == value


def test_our_variables_come_first_then_mlflows_and_the_platforms_last() -> None:
    given = {"PORT": "1", "LAUNCHER_SERVE_PORT": "2", "MLFLOW_PORT": "3"}
    assert settings(given).port == 2
    del given["LAUNCHER_SERVE_PORT"]
    assert settings(given).port == 3
    del given["MLFLOW_PORT"]
    assert settings(given).port == 1
    assert settings({"PORT": ""}, port=8080).port == 8080


def test_the_model_gets_the_name_that_the_platform_has_for_it() -> None:
    document = {"model": {"path": "/", "names": ["a"]}, "settings_from_environment": True}
    config = ServerConfig.from_dict(document)
    assert list(with_variables(config, {}).model.names) == ["a"]
    asked = with_variables(config, {"LAUNCHER_SERVE_NAME": "iris"})
    assert list(asked.model.names) == ["iris", "a"]


def test_only_a_configuration_that_asks_for_it_is_changed() -> None:
    config = ServerConfig.from_dict({"model": {"path": "/"}})
    assert with_variables(config, {"PORT": "9000"}) is config


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "http"),
        ("MLFLOW_MODELS_WORKERS", "0"),
        ("LAUNCHER_SERVE_TIMEOUT", "-1"),
        ("LAUNCHER_SERVE_TIMEOUT", "inf"),
        ("LAUNCHER_SERVE_MAX_BATCH_ROWS", "automatic"),
        ("LAUNCHER_SERVE_MAX_BATCH_ROWS", "-1"),
        ("LAUNCHER_SERVE_MAX_HELD", "2 cows"),
        ("LAUNCHER_SERVE_ACCESS_LOG", "perhaps"),
        ("LAUNCHER_SERVE_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_is_none_names_its_variable(variable: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"The variable {variable} is '{text}'"):
        settings({variable: text})


def test_every_setting_has_a_variable_that_is_read() -> None:
    texts = {"int": "7", "float": "7", "bool": "true", "str": "text"}
    for field, default in ServerSettings()._asdict().items():
        if field in ("processors", "traces", "restarts", "reloads"):
            continue
        kind = next(name for name in texts if name in str(ServerSettings.__annotations__[field]))
        text = {"loader": "mlflow", "log_format": "json", "direct_lane": "on"}.get(
            field, texts[kind]
        )
        # What is on is turned off.
        text = "false" if default is True else text
        changed = settings({f"LAUNCHER_SERVE_{field.upper()}": text})
        assert getattr(changed, field) not in (None, default), field


# --- process 1 --------------------------------------------------------------------------------------


def container(program: str, tmp_path: Path, *, isolated: bool = False) -> subprocess.Popen[str]:
    """Process 1 over a program of the test's own in the server's place."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    start = (
        "import sys; from scoring_server.container.__main__ import supervise;"
        f"sys.exit(supervise([sys.executable, {str(script)!r}]))"
    )
    through = ["unshare", "--pid", "--fork", "--mount-proc"] if isolated else []
    return subprocess.Popen(
        [*through, sys.executable, "-c", start], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(timeout=20)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_server(signum: signal.Signals, tmp_path: Path) -> None:
    process = container(
        f"""
        import signal, sys
        signal.signal({int(signum)}, lambda *_: sys.exit(42))
        print("here", flush=True)
        while True:
            signal.pause()
        """,
        tmp_path,
    )
    assert line_of(process) == "here"
    process.send_signal(signum)
    assert end_of(process) == 42


def test_a_signal_ends_a_server_that_has_no_handler_yet(tmp_path: Path) -> None:
    process = container("import time; print(1, flush=True); time.sleep(600)", tmp_path)
    line_of(process)
    process.terminate()
    assert end_of(process) == 128 + signal.SIGTERM


def test_the_servers_exit_code_is_the_containers(tmp_path: Path) -> None:
    assert end_of(container("raise SystemExit(3)", tmp_path)) == 3


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a namespace needs root: run as root, with util-linux",
)
def test_as_process_1_it_reaps_what_others_leave(tmp_path: Path) -> None:
    process = container(
        """
        import os, time
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.2)  # until its parent is gone
                os._exit(0)
            os._exit(0)
        os.wait()
        deadline = time.monotonic() + 10
        def states():
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    yield open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[0]
                except OSError:
                    pass
        # Itself, and process 1; the orphan has come and gone.
        while len(list(states())) > 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        print(os.getppid(), sorted(states()), flush=True)
        """,
        tmp_path,
        isolated=True,
    )
    assert line_of(process) == "1 ['R', 'S']"
    assert end_of(process) == 0


def test_what_is_no_command_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "scoring_server.container", "train"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "'train' is none of this image's commands" in ended.stderr
