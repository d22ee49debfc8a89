"""What ends by itself: predictions of a file or of values, environments."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher.api.arguments import command_line
from launcher.api.lifelines import Lifeline
from launcher.api.payloads import document_of, encode, value_of
from launcher.errors import LauncherError, UsageError
from launcher.instances.detaching import BackgroundLauncher

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from launcher.api.keywords import PredictKeywords, PrepareEnvKeywords


def predict(
    model_uri: str | os.PathLike[str],
    data: Any,
    *,
    params: Mapping[str, Any] | None = None,
    **options: Unpack[PredictKeywords],
) -> Any:
    """Score data with a model, in the model's environment and without a server.

    What is under way is told on standard error, as by the command.

    :param model_uri: a folder or a URI, as on the command line.
    :param data: a path, which the command reads by its extension; or values, as `Server.predict`
        takes them.
    :param params: those of the model's signature; for values only.
    :param options: the options of ``launcher predict``, with ``_`` in the place of ``-``.
    :returns: as `Server.predict`; None where ``output_path`` says where the predictions go.
    :raises LauncherError: what the command would fail with.
    :raises TypeError: an option that there is not.
    """
    words = command_line("predict", model_uri, options)
    is_path = isinstance(data, (str, os.PathLike))
    if is_path and params is not None:
        raise UsageError("Params go with values, not with a file.", "Read the file, or write them.")
    has_output = options.get("output_path") is not None
    if not has_output and options.get("output_format") is not None:
        raise UsageError("output_format is that of a file.", "Say which, with output_path.")
    with tempfile.TemporaryDirectory(prefix="launcher-") as folder:
        if is_path:
            source = Path(data)
        else:
            source = Path(folder, "input.json")
            source.write_bytes(encode(document_of(data, params)))
        words.append(f"--input-path={source}")
        if has_output:
            _run(words)
            return None
        goal = Path(folder, "output.json")
        _run([*words, f"--output-path={goal}"])
        return value_of(goal.read_bytes())


class PreparedEnvironment(NamedTuple):
    """An environment that is complete: its key, its folder, and its interpreter."""

    key: str
    path: Path
    python: Path


def prepare_env(
    model_uri: str | os.PathLike[str], **options: Unpack[PrepareEnvKeywords]
) -> PreparedEnvironment:
    """Build a model's environment, or find the one that is there.

    What is under way is told on standard error, as by the command.

    :param options: the options of ``launcher prepare-env``, with ``_`` in the place of ``-``.
    :raises LauncherError: what the command would fail with.
    :raises TypeError: an option that there is not.
    """
    told = json.loads(_run([*command_line("prepare-env", model_uri, options), "--json"]))
    return PreparedEnvironment(told["key"], Path(told["path"]), Path(told["python"]))


def _run(words: list[str]) -> bytes:
    """Run a command to its end, and return what it has printed.

    :raises LauncherError: what it failed with.
    """
    lifeline = Lifeline()
    try:
        started = BackgroundLauncher(
            words, stdout=subprocess.PIPE, stderr=None, lifeline=lifeline.theirs
        )
        lifeline.started()
        process = started.process
        try:
            printed, _ = process.communicate()
        except BaseException:
            lifeline.cut()
            process.wait()
            raise
    finally:
        lifeline.cut()
    started.outcome()
    if process.returncode != 0:
        raise LauncherError(f"launcher {words[0]} ended with code {process.returncode}.")
    return printed
