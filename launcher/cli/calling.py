"""``launcher call``."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from launcher.cli.output import print_json, print_table
from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.completion import names
from launcher.cli.parsing.option_types import ASSIGNMENT, DATA_PATH, FILE, FORMATS
from launcher.errors import UsageError

_STANDARD_INPUT = "-"


@click.command(cls=Command)
@click.argument("target", metavar="URL|NAME", shell_complete=names)
@in_group(
    "Input",
    click.option(
        "-i",
        "--input-path",
        type=DATA_PATH,
        help="What to send; - is standard input.  [default: the model's example]",
    ),
    click.option(
        "-t", "--content-type", type=click.Choice(["arrow", *FORMATS]),
        help="Format of the input; arrow: an IPC stream.  [default: by its extension, else json]",
    ),
    click.option(
        "--param", "param", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUE",
        help="A param of the model, JSON or text; repeatable. With JSON input.",
    ),
    click.option("--params", metavar="JSON", help="Several params, as a JSON object."),
    click.option("--gzip", "is_compressed", is_flag=True, help="Send the input as gzip."),
)  # fmt: skip
@in_group(
    "Output",
    click.option("-o", "--output-path", type=DATA_PATH, help="Where the answer goes, as it is."),
    click.option(
        "--output-format", type=click.Choice(["auto", "table", "json", "raw"]), default="auto",
        show_default=True,
        help="auto: a table on a terminal, else raw; json: indented; raw: the answer as it is.",
    ),
    click.option("--json", "as_json", is_flag=True, help="As --output-format json."),
)  # fmt: skip
@in_group(
    "Connection",
    click.option(
        "--token", envvar="LAUNCHER_TOKEN",
        help="The bearer token; others of this machine may see what is on a command line.  "
        "[default for NAME: what it was started with]",
    ),
    click.option(
        "--token-file", type=FILE, envvar="LAUNCHER_TOKEN_FILE",
        help="The token in a file.",
    ),
    click.option(
        "--cacert", type=FILE, help="Certificates to trust in the place of the system's (PEM)."
    ),
    click.option(
        "--timeout", default=60.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Seconds for connecting, and for each wait.",
    ),
)  # fmt: skip
def call(
    target: str,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    output_format: str,
    as_json: bool,
    param: tuple[tuple[str, str], ...],
    params: str | None,
    token: str | None,
    token_file: Path | None,
    cacert: Path | None,
    is_compressed: bool,
    timeout: float,
) -> None:
    """Send a file to the model served at URL, or under NAME on this machine; print the answer.

    URL may be http, https, or a unix socket: unix:///run/iris.sock. Without a file the model's
    input example is sent.

    Exit codes: 0 answered, 1 refused by the server, 2 bad usage, 4 no answer.
    """
    from launcher.commands import calling
    from launcher.commands.prediction import check_output, format_of, whole_output

    if output_path is not None:
        check_output(output_path)
    server = calling.find_server(target, timeout)
    if token_file is not None:
        token = token or calling.read_token(token_file)
    server = server._replace(token=token or server.token)
    if cacert is not None:
        server = server._replace(authority=cacert, is_pinned=False)
    read_as = format_of(input_path)
    kind = content_type or read_as.name or "json"
    if read_as.compression is not None:
        raise UsageError(f"{input_path} is compressed.", "Unpack it; --gzip sends it as gzip.")
    wanted = _params(param, params)
    with ExitStack() as held:
        body: Any
        if input_path is None:
            body, kind = calling.example_body(server), "json"
        elif input_path == _STANDARD_INPUT:
            body = sys.stdin.buffer
        elif not Path(input_path).is_file():
            raise UsageError(f"{input_path} is not a file.", "Give the file to send with -i.")
        else:
            body = held.enter_context(Path(input_path).open("rb"))
        if kind == "jsonl":
            lines = body.splitlines() if isinstance(body, bytes) else body
            body, kind = calling.records_of_lines(lines), "json"
        if wanted:
            if kind != "json":
                raise UsageError(f"Params do not go with {kind}.", "Send JSON.")
            body = calling.with_params(body if isinstance(body, bytes) else body.read(), wanted)
        pieces = calling.predictions(server, body, kind, is_compressed=is_compressed)
        with whole_output(output_path) as goal:
            if goal is None:
                _print(pieces, "json" if as_json else output_format)
                return
            with goal.open("wb") as output:
                output.writelines(pieces)


def _params(single: tuple[tuple[str, str], ...], several: str | None) -> dict[str, Any]:
    found: Any = _value(several) if several is not None else {}
    if not isinstance(found, dict):
        raise UsageError(f"{several!r} is no JSON object.", "Such as --params '{\"top_k\": 3}'.")
    return {**found, **{name: _value(value) for name, value in single}}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(pieces: Any, form: str) -> None:
    if form == "raw" or (form == "auto" and not sys.stdout.isatty()):
        for piece in pieces:
            click.echo(piece, nl=False)
        click.echo()
        return
    answer = b"".join(pieces)
    try:
        document = json.loads(answer)
    except ValueError:
        click.echo(answer)
        return
    rows = None if form == "json" else _rows(document)
    if rows is None:
        print_json(document)
    else:
        print_table(rows)


def _rows(document: Any) -> list[list[str]] | None:
    """The answer's predictions as a table, the heads first; None where they are none."""
    found = document.get("predictions") if isinstance(document, dict) else document
    if isinstance(found, dict) and all(isinstance(values, list) for values in found.values()):
        columns = list(found.values())
        is_table = len({len(values) for values in columns}) == 1
        found = [dict(zip(found, row)) for row in zip(*columns)] if is_table else None  # noqa: B905
    if not isinstance(found, list) or not found:
        return None
    if all(isinstance(row, dict) for row in found):
        names = list(dict.fromkeys(name for row in found for name in row))
        return [names, *([_cell(row.get(name)) for name in names] for row in found)]
    if all(isinstance(row, list) and len(row) == len(found[0]) for row in found):
        heads = [str(number) for number in range(len(found[0]))]
        return [heads, *([_cell(value) for value in row] for row in found)]
    return [["prediction"], *([_cell(value)] for value in found)]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
