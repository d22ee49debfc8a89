"""``launcher predict``: scores a file with the model, in the model's environment."""

from __future__ import annotations

import glob
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from envs.disk.home import close_home, launcher_home
from launcher.commands.environment import (
    EnvironmentOptions,
    describe_runtime,
    prepare_environment,
)
from launcher.commands.model_opening import ModelRequest, check_code_execution
from launcher.console import Console
from launcher.engines.deployment import command_in
from launcher.engines.engine import Assignment, ServerOptions
from launcher.engines.scoring_server import ScoringServer, scoring_command
from launcher.errors import LauncherError, ServerCrashedError, ServerNotReadyError, UsageError
from launcher.instances.run_folders import run_folder
from launcher.supervision.log import ServerLog, new_log_path
from launcher.supervision.process import Command, ServerProcess, describe_exit
from launcher.supervision.server import read_events
from launcher.supervision.stop_signals import stop_requests_raise
from scoring_server import events

_EXTENSIONS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".xz": "xz"}


class FileFormat(NamedTuple):
    """What is in a file; ``name`` is None where its extension says nothing."""

    name: str | None
    compression: str | None

    def arguments(self, kind: str, asked: str | None) -> list[str]:
        """What the scoring process is told of it; ``kind`` is input or output."""
        given = [f"--{kind}-format", asked or self.name or "json"]
        return given + ([f"--{kind}-compression", self.compression] if self.compression else [])


def predict(
    request: ModelRequest,
    *,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    output_format: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
    loader: str = "auto",
    environment: EnvironmentOptions,
    console: Console,
) -> None:
    """Score ``input_path`` (or standard input) into ``output_path`` (or standard output).

    :param input_path: None or "-" for standard input; the output likewise.
    :param content_type: the input's format; None goes by the extension, then json. Likewise
        ``output_format``.
    :param variables: join the environment of the model's process.
    :param loader: "auto", or "mlflow" to leave reading the model's files to MLflow.
    :raises LauncherError: what went wrong; no half-written output is left behind.
    """
    input_path, output_path = (None if path == "-" else path for path in (input_path, output_path))
    if input_path is not None and not Path(input_path).is_file():
        raise UsageError(f"{input_path} is not a file.", "Give the file to score with -i.")
    if output_path is not None:
        check_output(output_path)
    check_code_execution(variables)
    read_as = format_of(input_path)
    arguments = read_as.arguments("input", content_type)
    arguments += format_of(output_path).arguments("output", output_format)
    arguments += ["--input", str(Path(input_path).absolute())] if input_path else []
    close_home(console.warn)
    with stop_requests_raise(), whole_output(output_path) as output:
        arguments += ["--output", str(output)] if output else []
        engine = ScoringServer()
        model = request.open(engine, console)
        built = prepare_environment(model, environment, engine, console)
        with built.in_use(), run_folder() as folder:
            options = ServerOptions(timeout=None, loader=loader)
            runtime = describe_runtime(model, built, console)
            engine.configure(Assignment(model, request.shown, runtime, options), folder)
            command = scoring_command(built.python, folder, *arguments)
            log = ServerLog(
                new_log_path(launcher_home() / "logs", "predict"), console.server_output
            )
            # How far it is, is counted in what comes out of it.
            size = Path(input_path).stat().st_size if input_path else None
            size = None if read_as.compression else size
            command = command_in(built, command, console.warn)
            command = command._replace(environ={**command.environ, **variables})
            console.under_way("loading the model")
            try:
                run_job(command, log, on_event=lambda event: _show(event, size, console))
            except UsageError as error:
                if content_type is None and read_as.name is None and not error.hint:
                    error.hint = (
                        f"{input_path or 'Standard input'} was read as JSON; csv, jsonl and parquet"
                        " are asked for with -t."
                    )
                raise
            finally:
                log.close()


def format_of(path: str | None) -> FileFormat:
    """What a path's extensions say: ``.csv``, ``.csv.gz``."""
    if path is None:
        return FileFormat(None, None)
    goal = Path(path)
    compression = _COMPRESSIONS.get(goal.suffix.lower())
    suffix = Path(goal.stem).suffix if compression else goal.suffix
    return FileFormat(_EXTENSIONS.get(suffix.lower()), compression)


def check_output(path: str) -> None:
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
def whole_output(output_path: str | None) -> Iterator[Path | None]:
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


def run_job(command: Command, log: ServerLog, *, on_event: Callable[[events.Event], None]) -> None:
    """Run a process that ends by itself, with this process's standard input and output.

    :raises LauncherError: the model could not be loaded (exit code 4), the input not be scored
        (2), or the process died (5); the message is its own where it sent one.
    """
    failure: events.Failed | None = None
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
                    lines = process.read_status()
                    if lines is None:
                        selector.unregister(process.status)
                    for event in read_events(lines or (), log):
                        if isinstance(event, events.Failed):
                            failure = event
                        loaded = loaded or isinstance(event, events.Loaded)
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
    raise kind(failure.message, failure.hint, log_path=log.path)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _show(event: events.Event, size: int | None, console: Console) -> None:
    if isinstance(event, events.Loaded):
        console.step(f"model loaded in {event.seconds:.2f} s")
    elif isinstance(event, events.Progress):
        console.advanced(f"{event.rows} rows scored", event.bytes_read, size)
    elif isinstance(event, events.Done):
        console.step(f"{event.rows} rows scored")
