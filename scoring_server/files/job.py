"""Batch scoring: a file (or standard input) in, a file (or standard output) out, in chunks.

It is the server's own path (parsing, signature, encoding) applied to one chunk after the other,
so the memory it takes does not grow with the input. An output file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, Optional, Union

from ..config import ServerConfig
from ..errors import ScoringError
from ..formats.parsing import ModelInput
from ..model.loading import LoadedModel
from ..scoring.scorer import Scorer
from .compression import compressed
from .locating import row_of_signature
from .reading import Chunk, read_inputs
from .writing import open_writer

Progress = Callable[[int, int], None]


def run_batch(
    config: ServerConfig,
    model: LoadedModel,
    input: Optional[str] = None,
    output: Union[str, BinaryIO, None] = None,
    input_format: str = "csv",
    output_format: str = "json",
    progress: Optional[Progress] = None,
    input_compression: Optional[str] = None,
    output_compression: Optional[str] = None,
) -> int:
    """Score a file; where that fails there is no output file.

    :param input: a path; None for standard input.
    :param output: a path or an open binary file; None for standard output.
    :param input_format: "csv", "parquet", "jsonl" (a record a line) or "json": one document of the
        server's, or JSON lines.
    :param output_format: "csv", "parquet", "jsonl" (a prediction a line) or "json":
        {"predictions": ...}.
    :param progress: called after every chunk with the bytes read and the rows scored so far.
    :param input_compression: "gz", "bz2" or "xz"; None for none. Likewise of the output.
    :returns: the number of rows.
    :raises ScoringError: the input, the model or an answer does not fit.
    :raises OSError: a file cannot be used.
    """
    scorer = Scorer(config, model)
    rows = 0
    with contextlib.ExitStack() as files:
        source = files.enter_context(_open_input(input))
        source = files.enter_context(compressed(source, input_compression, "rb"))
        target = files.enter_context(_open_output(output))
        target = files.enter_context(compressed(target, output_compression, "wb"))
        writer = open_writer(output_format, target)
        for chunk in read_inputs(source, input_format, scorer.signature):
            model_input = _fitted(scorer, chunk)
            try:
                writer.write(scorer.predict(model_input), model_input)
            except ScoringError as error:
                if chunk.first_row is not None:
                    last = chunk.first_row + chunk.rows - 1
                    rows_of_it = "Rows {} to {}".format(chunk.first_row, last)
                    error.message = "{}: {}".format(rows_of_it, error.message)
                raise
            rows += chunk.rows
            if progress is not None:
                progress(chunk.bytes_read, rows)
        writer.close()
    return rows


def _fitted(scorer: Scorer, chunk: Chunk) -> ModelInput:
    """The chunk as the signature wants it.

    :raises ScoringError: it does not fit; says which row, where it is one.
    """
    data = chunk.model_input.data
    try:
        return scorer.apply_signature(chunk.model_input)
    except ScoringError as error:
        if chunk.first_row is not None:
            row = row_of_signature(scorer, data)
            if row is None:
                error.message = "Rows from {}: {}".format(chunk.first_row, error.message)
            else:
                error.message = "Row {}: {}".format(chunk.first_row + row, error.message)
        raise


@contextlib.contextmanager
def _open_input(path: Optional[str]) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield file


@contextlib.contextmanager
def _open_output(path: Union[str, BinaryIO, None]) -> Iterator[BinaryIO]:
    """The output file under a temporary name beside it; renamed when all went well.

    Only a file is replaced: a device or a pipe is written to, and a link stays what it is.
    """
    if not isinstance(path, str):
        stream = sys.stdout.buffer if path is None else path
        yield stream
        stream.flush()
        return
    goal = Path(path).resolve()
    if goal.exists() and not goal.is_file():
        with goal.open("wb") as special:
            yield special
        return
    descriptor, name = tempfile.mkstemp(prefix="." + goal.name + ".", dir=str(goal.parent))
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(goal)
    except BaseException:
        temporary.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
