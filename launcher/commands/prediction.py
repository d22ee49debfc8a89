"""``launcher predict``: scores a file with the model, in the model's environment."""

from __future__ import annotations

import glob
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envs.disk.files import write_json
from envs.disk.home import launcher_home
from launcher.commands.environment import EnvironmentOptions, prepare_environment
from launcher.commands.model_opening import ModelRequest
from launcher.commands.serving import describe_model
from launcher.console import Console
from launcher.engines.deployment import describe_environment
from launcher.engines.scoring_server import scoring_server_command
from launcher.engines.server_config import server_config
from launcher.errors import LauncherError, ServerCrashedError, ServerNotReadyError, UsageError
from launcher.instances.run_folders import run_folder
from launcher.supervision.log import ServerLog, new_log_path
from launcher.supervision.process import Command, ServerProcess, describe_exit
from launcher.supervision.stop_signals import stop_requests_raise

_EXTENSIONS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


def predict(
    request: ModelRequest,
    *,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    loader: str = "auto",
    environment: EnvironmentOptions,
    console: Console,
) -> None:
    """Score ``input_path`` (or standard input) into ``output_path`` (or standard output).

    :param content_type: the input's format; None goes by the extension, then json.
    :param loader: "auto", or "mlflow" to leave reading the model's files to MLflow.
    :raises LauncherError: what went wrong; no half-written output is left behind.
    """
    if input_path is not None and not Path(input_path).is_file():
        raise UsageError(f"{input_path} is not a file.", "Give the file to score with -i.")
    if output_path is not None:
        _check_output(output_path)
    arguments = ["--predict", "--input-format", content_type or format_of(input_path)]
    arguments += ["--output-format", format_of(output_path)]
    arguments += ["--input", str(Path(input_path).absolute())] if input_path else []
    with stop_requests_raise(), _whole_output(output_path) as output:
        arguments += ["--output", str(output)] if output else []
        model = request.open(console)
        console.step(describe_model(model))
        built = prepare_environment(model, environment, console)
        with built.in_use(), run_folder() as folder:
            config = folder / "config.json"
            write_json(
                config,
                server_config(
                    model,
                    uri=request.uri,
                    environment=describe_environment(built),
                    server={"timeout": None, "loader": loader},
                ),
            )
            log = ServerLog(
                new_log_path(launcher_home() / "logs", "predict"), console.server_output
            )
            size = Path(input_path).stat().st_size if input_path else None
            console.under_way("loading the model")
            try:
                run_job(
                    scoring_server_command(built, config, *arguments, warn=console.warn),
                    log,
                    on_event=_Progress(size, console).event,
                )
            finally:
                log.close()


def format_of(path: str | None) -> str:
    """The format that a path's extension names; json for none or another."""
    return _EXTENSIONS.get(Path(path).suffix.lower(), "json") if path else "json"


def _check_output(path: str) -> None:
    """See before any work is done that the predictions have a place to go to.

    :raises UsageError: they have none.
    """
    goal = Path(path).resolve()
    if goal.is_dir():
        raise UsageError(f"{path} is a folder.", "Give the path of a file with -o.")
    if not goal.parent.is_dir():
        raise UsageError(f"The folder of {path} does not exist.", "Make it first.")
    if not os.access(goal if goal.exists() else goal.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written.", "Choose another file with -o.")


@contextmanager
def _whole_output(output_path: str | None) -> Iterator[Path | None]:
    """A path to write to that takes the output's place at the end of a block that succeeds.

    However the writer died, what it left beside the output is removed. Only a file is replaced: a
    device or a pipe is written to, and a link stays what it is.
    """
    if output_path is None:
        yield None
        return
    goal = Path(output_path).resolve()
    if goal.exists() and not goal.is_file():
        yield goal
        return
    partial = goal.with_name(f".{goal.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(goal)
    finally:
        for left in goal.parent.glob(f"*{glob.escape(partial.name)}*"):
            left.unlink()


def run_job(
    command: Command, log: ServerLog, *, on_event: Callable[[dict[str, Any]], None]
) -> None:
    """Run a process that ends by itself, with this process's standard input and output.

    :raises LauncherError: the model could not be loaded (exit code 4), the input not be scored
        (2), or the process died (5); the message is its own where it sent one.
    """
    failure: dict[str, Any] | None = None
    loaded = False
    process = ServerProcess(
        command, None, stdin=sys.stdin.fileno() if _is_open(0) else subprocess.DEVNULL, stdout=1
    )
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.output, selectors.EVENT_READ)
            selector.register(process.status, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fd == process.output:
                        chunk = process.read_output()
                        if chunk == b"":
                            selector.unregister(process.output)
                        elif chunk:
                            log.write(chunk)
                        continue
                    events = process.read_status()
                    if events is None:
                        selector.unregister(process.status)
                    for event in events or []:
                        if event["event"] == "failed":
                            failure = event
                            log.keep(event.get("traceback", "").encode())
                        loaded = loaded or event["event"] == "loaded"
                        on_event(event)
        code = process.wait()
    finally:
        process.close()
    if code == 0:
        return
    if failure is None:
        kind: type[LauncherError] = ServerCrashedError if loaded else ServerNotReadyError
        raise kind(f"The scoring process {describe_exit(code)}.", log_path=log.path)
    kind = UsageError if loaded else ServerNotReadyError
    raise kind(failure["message"], failure.get("hint"), log_path=log.path)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class _Progress:
    """A progress bar on a terminal, by bytes where the input's size is known; else nothing."""

    def __init__(self, size: int | None, console: Console) -> None:
        self._size = size
        self._console = console

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] == "loaded":
            self._console.step(f"model loaded in {event['seconds']:.2f} s")
        elif event["event"] == "progress" and sys.stderr.isatty():
            done = ""
            if self._size:
                share = min(event["bytes_read"] / self._size, 1.0)
                filled = round(share * 30)
                done = f"[{'#' * filled}{'.' * (30 - filled)}] {share:4.0%} "
            self._console.under_way(f"{done}{event['rows']} rows scored")
        elif event["event"] == "done":
            self._console.step(f"{event['rows']} rows scored")
