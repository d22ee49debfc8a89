"""The scoring server's command line: serve, or score one file."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, BinaryIO, Iterator, List, Optional, Tuple

from .config import ConfigError, ServerConfig
from .errors import ModelLoadError, ScoringError
from .events import Done, Failed, Loaded, Loading, NotForkable, Progress
from .status import StatusChannel
from .worker.lifeline import Lifeline, keep_from_children

if TYPE_CHECKING:
    from .model.loading import LoadedModel

EXIT_FAILED = 1


def _parse(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scoring_server", description=__doc__)
    parser.add_argument("config", help="the JSON file that the launcher wrote")
    parser.add_argument("--socket-fd", type=int, help="a bound socket to listen on")
    parser.add_argument("--status-fd", type=int, help="a pipe for events, a JSON object a line")
    parser.add_argument("--lifeline-fd", type=int, help="a pipe that ends with the launcher")
    parser.add_argument(
        "--load-in-workers", action="store_true", help="load the model in each worker"
    )
    batch = parser.add_argument_group("scoring a file instead of serving")
    batch.add_argument("--predict", action="store_true", help="score --input into --output")
    batch.add_argument("--input", help="a path; standard input without one")
    batch.add_argument("--output", help="a path; standard output without one")
    formats, compressions = ["csv", "json", "jsonl", "parquet"], ["gz", "bz2", "xz"]
    batch.add_argument("--input-format", choices=formats, default="json")
    batch.add_argument("--output-format", choices=formats, default="json")
    batch.add_argument("--input-compression", choices=compressions)
    batch.add_argument("--output-compression", choices=compressions)
    return parser.parse_args(arguments)


def main(arguments: Optional[List[str]] = None) -> int:
    """Serve or predict as ``arguments`` (default: the process's own) say.

    :returns: the exit code; 1 when the model could not be loaded or the file not be scored, and
        then the reason has been sent to the status pipe and written to standard error.
    """
    options = _parse(arguments)
    # Before anything that takes time is imported, or may start a process.
    lifeline = Lifeline(options.lifeline_fd)
    lifeline.start()
    keep_from_children(options.socket_fd, options.status_fd, options.lifeline_fd)
    status = StatusChannel(options.status_fd)
    if options.predict and options.output is None:
        options.output = _claim_standard_output()
    try:
        config = ServerConfig.read(options.config)
        if config.server.traces is not None:
            keep_from_children(config.server.traces.descriptor)
        if config.settings_from_environment:
            from .container.variables import with_variables

            config = with_variables(config, os.environ)
        if not options.predict:
            return _serve(config, options, status, lifeline)
        with _few_collections():
            model, _ = _load(config, status)
        return _predict(config, model, options, status)
    except ConfigError as error:
        return _fail(status, str(error), None)
    except ModelLoadError as error:
        return _fail(status, error.message, error.hint)
    except ScoringError as error:
        return _fail(status, error.message, None)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Look for garbage seldom within the block.

    There is hardly any in what is imported and loaded, and looking for it hundreds of times takes
    a twentieth of the time until the server is ready.
    """
    usual = gc.get_threshold()
    gc.set_threshold(50_000)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _load(config: ServerConfig, status: StatusChannel) -> Tuple[LoadedModel, float]:
    """The model, and how many seconds loading it took."""
    from .model.loading import load_model

    started = time.monotonic()
    status.send(Loading())
    # Libraries are no garbage: the collection before the fork looks at the model alone.
    model = load_model(config, on_imported=gc.freeze)
    seconds = time.monotonic() - started
    status.send(Loaded(seconds))
    return model, seconds


def _serve(
    config: ServerConfig, options: argparse.Namespace, status: StatusChannel, lifeline: Lifeline
) -> int:
    model, seconds = None, 0.0
    is_shared = config.server.preload is not False and not config.model.traits.has_process
    with _few_collections():
        from .model.fork_safety import fork_hazards, load_again_in_workers
        from .serving import make_service, serve

        if is_shared and not options.load_in_workers:
            model, seconds = _load(config, status)
    # A fork takes only the thread that forks along; a watching thread would be lost in it.
    lifeline.stop()
    if model is not None and config.server.preload is None:
        hazards = fork_hazards()
        if hazards:
            status.send(NotForkable(hazards))
            handed_down = [options.socket_fd, options.status_fd, options.lifeline_fd]
            if config.server.traces is not None:
                handed_down.append(config.server.traces.descriptor)
            load_again_in_workers([each for each in handed_down if each is not None])
    service = make_service(config, model, seconds)
    return serve(service, options.socket_fd, status, lifeline)


def _predict(
    config: ServerConfig, model: LoadedModel, options: argparse.Namespace, status: StatusChannel
) -> int:
    from .files.job import run_batch

    def progress(bytes_read: int, rows: int) -> None:
        status.send(Progress(bytes_read, rows))

    try:
        rows = run_batch(
            config,
            model,
            input=options.input,
            output=options.output,
            input_format=options.input_format,
            output_format=options.output_format,
            progress=progress,
            input_compression=options.input_compression,
            output_compression=options.output_compression,
        )
    except OSError as error:
        return _fail(status, "Reading or writing failed: {}.".format(error), None)
    status.send(Done(rows))
    return 0


def _claim_standard_output() -> BinaryIO:
    """Standard output for the predictions alone: what the model prints goes to standard error."""
    claimed = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(claimed, "wb")


def _fail(status: StatusChannel, message: str, hint: Optional[str]) -> int:
    if status.is_open:
        status.send(Failed(message, hint, traceback.format_exc()))
    else:
        traceback.print_exc()
        print("Error: " + message, hint or "", sep="\n", file=sys.stderr)
    return EXIT_FAILED
