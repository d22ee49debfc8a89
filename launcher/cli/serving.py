"""``launcher serve`` and ``launcher ping``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.option_types import BODY_SIZE, FILE, ORIGIN, PORT, ROOT_PATH, SIZE, SOCKET
from launcher.cli.parsing.options import (
    environment_options,
    json_option,
    loader_option,
    mlserver_option,
    model_options,
    take,
    take_environment_options,
)

if TYPE_CHECKING:
    from launcher.tracing.target import TraceTarget


def _workers(value: str) -> int:
    if value == "auto":
        from scoring_server.container.cpu_limits import available_cpus

        return available_cpus()
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'auto'.")
    return int(value)


def _batch_rows(value: str) -> int | str:
    if value == "auto" or value.isdigit():
        return value if value == "auto" else int(value)
    raise click.BadParameter(f"{value!r} is neither a number of rows nor 'auto'.")


@click.command(cls=Command)
@model_options
@in_group(
    "Address",
    click.option(
        "-p", "--port", default=5000, envvar=["MLFLOW_PORT", "PORT"], show_default=True,
        type=PORT, metavar="PORT", help="The port; 0 picks a free one and prints it.",
    ),
    click.option(
        "-h", "--host", default="127.0.0.1", envvar="MLFLOW_HOST", show_default=True,
        metavar="ADDRESS",
        help="The address; one that others reach is warned about unless a token is set.",
    ),
    click.option(
        "--uds", type=SOCKET, metavar="PATH",
        help="Serve on a unix socket in the place of host and port. Who may connect says the "
        "umask: with 022 this user alone, with 007 the group too. The socket of a server that has "
        "died is replaced.",
    ),
    click.option(
        "--root-path", type=ROOT_PATH, default="", metavar="PREFIX",
        help="The server's path as the clients of a proxy see it, such as /models/iris, whether "
        "the proxy takes it off or not.",
    ),
    click.option(
        "--name", metavar="NAME",
        help="Name for ps, logs, reload and stop.  [default: the model's]",
    ),
)  # fmt: skip
@in_group(
    "Requests",
    click.option(
        "-t", "--timeout", default=60.0, envvar="MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT",
        type=click.FloatRange(min=0), show_default=True, metavar="SECONDS",
        help="Seconds for one request, then 504; 0: no limit.",
        callback=lambda _ctx, _param, value: value or None,
    ),
    click.option(
        "--backlog", default=512, show_default=True, type=click.IntRange(min=0), metavar="N",
        help="Requests that may wait for a worker; one more gets 503 with Retry-After.",
    ),
    click.option(
        "--max-batch-rows", default="0", metavar="N|auto",
        callback=lambda _ctx, _param, value: _batch_rows(value),
        help="Let requests that wait while the model is busy share one prediction of up to N rows; "
        "for models that answer each row by itself. auto: as many as the time of predictions "
        "speaks for, once predictions beside the answers have shown that nobody's answer changes "
        "by it.  [default: no batching]",
    ),
    click.option(
        "--batch-tolerance", default=0.0, type=click.FloatRange(min=0, max=1), metavar="ERROR",
        help="With --max-batch-rows auto: by how much a number of an answer may differ from that "
        "of a prediction of its own, as a share of it where it is larger than 1.  [default: 0, no "
        "bit]",
    ),
    click.option(
        "--batch-wait", default=0.0, type=click.FloatRange(min=0), metavar="MS",
        callback=lambda _ctx, _param, value: value / 1000,
        help="Milliseconds that a request waits for others although the model is idle.  "
        "[default: 0]",
    ),
    click.option(
        "--direct-lane", default="auto", show_default=True,
        type=click.Choice(["auto", "on", "off"]),
        help="Predict from arrays in place of tables, where both are proved to be the same for the "
        "requests that come. auto: estimators and boosters of known libraries; on: any model with "
        "a signature of numbers whose flavor allows it.",
    ),
    click.option(
        "--max-body", default="100MiB", show_default=True, type=BODY_SIZE, metavar="SIZE",
        help="Bytes that a request body may have; a larger one gets 413.",
    ),
    click.option(
        "--max-held", type=SIZE, metavar="SIZE",
        help="Bytes that requests and answers of all connections may take together; more get 503. "
        "An answer counts once the worker has made it.  [default: four largest bodies, 64MB at "
        "least]",
    ),
    click.option(
        "--page/--no-page", default=True, show_default=True,
        help="A page at / for browsers, to try the model, and the description of its API at /docs.",
    ),
)  # fmt: skip
@in_group(
    "Workers",
    click.option(
        "-w", "--workers", default="1", envvar="MLFLOW_MODELS_WORKERS", show_default=True,
        metavar="N|auto", callback=lambda _ctx, _param, value: _workers(value),
        help="Worker processes; they share the loaded model's memory. auto: as many as CPUs may be "
        "used here.",
    ),
    click.option(
        "--threads", default=1, show_default=True, type=click.IntRange(min=1), metavar="N",
        help="Requests that a worker's model answers at a time.",
    ),
    click.option(
        "--preload/--no-preload", default=None,
        help="Load the model once and fork workers from it, or load it in each worker, for one "
        "that cannot live across a fork.  [default: once, unless it has threads or a CUDA context]",
    ),
    click.option(
        "--max-requests", default=0, type=click.IntRange(min=0), metavar="N",
        help="Replace a worker after that many requests.  [default: never]",
    ),
    click.option(
        "--max-requests-jitter", default=0, type=click.IntRange(min=0), metavar="N",
        help="Up to that many more, at random, so that workers are not replaced all at once.",
    ),
    click.option(
        "--worker-memory", type=SIZE, metavar="SIZE",
        help="Memory that a worker may take beyond the loaded model, such as 2GB; the request that "
        "wants more gets 500, and the worker is replaced. Loading is not bounded.  "
        "[default: no limit]",
    ),
)  # fmt: skip
@loader_option
@environment_options
@mlserver_option
@in_group(
    "Readiness and supervision",
    click.option(
        "--ready-file", type=click.Path(path_type=Path, dir_okay=False),
        help="JSON with pid, url and environment key, there exactly while the server is ready.",
    ),
    click.option(
        "--ready-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        help="Seconds that the server may take to become ready.  [default: no limit]",
    ),
    click.option(
        "--graceful-timeout", default=30.0, show_default=True, type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Seconds that requests in flight have at a stop.",
    ),
    click.option(
        "--liveness-timeout", default=30.0, show_default=True, type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Seconds without an answer to /ping after which the server is replaced; 0: never.",
    ),
    click.option(
        "--max-restarts", default=5, show_default=True, type=click.IntRange(min=0), metavar="N",
        help="Crashes within a minute after which the launcher gives up.",
    ),
    click.option(
        "--watch", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        help="Ask that often whether the model URI leads to another model now, and reload then.",
    ),
)  # fmt: skip
@in_group(
    "Security",
    click.option(
        "--token-file", type=FILE,
        help="Clients must send the token in this file (Authorization: Bearer ...) to all but "
        "the probes: /ping, /health, those of V2.",
    ),
    click.option(
        "--tls-cert", type=FILE,
        help="Serve https with this certificate chain (PEM).",
    ),
    click.option(
        "--tls-key", type=FILE,
        help="The certificate's private key, where it is in a file of its own (PEM).",
    ),
    click.option(
        "--cors-origin", type=ORIGIN, multiple=True, metavar="ORIGIN",
        help="Let pages of this origin use the server, such as https://example.org; repeatable. *: "
        "all pages, but without the browser's credentials (cookies of a proxy).",
    ),
)  # fmt: skip
@in_group(
    "Log",
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    ),
    click.option(
        "--access-log", is_flag=True,
        help="Log every request; without it, those that are slow or fail here (5xx).",
    ),
    click.option(
        "--slow-request", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        help="Log requests that take longer, marked as slow.",
    ),
    click.option(
        "--log-max-size", type=SIZE, default="100MB", show_default=True, metavar="SIZE",
        help="Begin a new log file after so much.",
    ),
    click.option(
        "--log-keep", default=3, show_default=True, type=click.IntRange(min=0), metavar="N",
        help="Full log files that are kept beside it.",
    ),
    click.option(
        "--otlp-endpoint", metavar="URL",
        envvar=["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        help="Export a trace of each request to the OpenTelemetry collector at this URL, such as "
        "http://127.0.0.1:4318.  [default: no traces]",
    ),
)  # fmt: skip
@in_group(
    "In the background",
    click.option("--detach", is_flag=True, help="Serve in the background; return once ready."),
    click.option("--log-file", type=click.Path(path_type=Path), hidden=True),
)  # fmt: skip
@in_group(
    "What would be done",
    click.option(
        "--dry-run", is_flag=True,
        help="Print the plan (model, key, requirements, command, options and where each comes "
        "from), and do nothing.",
    ),
    click.option("--json", "as_json", is_flag=True, help="With --dry-run: print it as JSON."),
)  # fmt: skip
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> None:
    """Serve a model over HTTP, in an environment of its own."""
    from launcher.commands.serving import ServeOptions, plan, serve_detached
    from launcher.commands.serving import serve as run
    from launcher.console import Console, clear
    from launcher.engines.engine import ServerOptions
    from launcher.errors import UsageError

    if given["max_batch_rows"] and given["threads"] > 1:
        raise UsageError(
            "--max-batch-rows and --threads do not go together: a batch is one prediction.",
            "Leave one of them out.",
        )
    if given["batch_tolerance"] and given["max_batch_rows"] != "auto":
        raise UsageError(
            "--batch-tolerance is for --max-batch-rows auto: nothing else is compared.",
            "Give both, or neither.",
        )
    _check_places(ctx, given)
    if given.pop("enable_mlserver"):
        given["engine"] = "mlserver"
    dry_run, detach, as_json = (given.pop(name) for name in ("dry_run", "detach", "as_json"))
    if as_json and not dry_run:
        raise UsageError("--json is for --dry-run.", "--log-format json is the log's.")
    given["traces"] = _trace_target(ctx, given.pop("otlp_endpoint"))
    environment = take_environment_options(given)
    server = take(ServerOptions, given, debug=bool(ctx.parent and ctx.parent.params.get("debug")))
    options = ServeOptions(server=server, environment=environment, **given)
    said = None if ctx.obj is None else ctx.obj.said
    console = Console(as_json=server.log_format == "json", said=said)
    if dry_run:
        assert isinstance(ctx.command, Command)
        settings = [
            {"option": each.flag, "value": each.value, "from": each.where}
            for each in ctx.command.settings(ctx)
            if each.flag not in ("--dry-run", "--json")
        ]
        planned = {**plan(options, console), "settings": settings}
        from launcher.cli.output import print_json  # not at a server's start

        clear()
        print_json(planned) if as_json else _print_plan(planned)
    # The one in the background has got the same variables and configuration file.
    elif detach and ctx.obj is None:
        serve_detached(options, console)
    else:
        run(options, console, ctx.obj)


def _trace_target(ctx: click.Context, endpoint: str | None) -> TraceTarget | None:
    if endpoint is None:
        return None
    from launcher.tracing.target import trace_target

    assert isinstance(ctx.command, Command)
    settings = ctx.command.settings(ctx)
    where = next(each.where for each in settings if each.flag == "--otlp-endpoint")
    return trace_target(endpoint, where)


def _print_plan(planned: dict[str, Any]) -> None:
    environment, server = planned["environment"], planned["server"]
    python = environment["python"] or "of the launcher"
    made_by = f"{environment['manager']}, Python {python}"
    state = "built already" if environment["built"] else "to be built"
    lines = [
        ("model", planned["model"]),
        (
            "environment",
            f"{environment['key']} ({made_by}), {state}",
        ),
        ("path", environment["path"]),
        *([("R", planned["R"])] if "R" in planned else []),
        *(("requirement", each) for each in environment["requirements"]),
        ("command", " ".join(planned["command"])),
        ("server", f"{server['address']}, {server['workers']} worker(s)"),
        *(("origin", each) for each in server["origins"]),
    ]
    for each in planned["settings"]:
        value = each["value"]
        text = " ".join(value) if isinstance(value, list) else str(value)
        option = each["option"] if value is True else f"{each['option']} {text}"
        lines.append(("setting", f"{option}  ({each['from']})"))
    for name, text in lines:
        click.echo(f"{name:<14}{text}")


def _check_places(ctx: click.Context, given: dict[str, Any]) -> None:
    """See that what says where the server is goes together."""
    from launcher.errors import UsageError

    if len(given["cors_origin"]) > 1 and "*" in given["cors_origin"]:
        raise UsageError("The origin * stands for all.", "Give --cors-origin '*' alone.")
    if given["uds"] is not None and given["tls_cert"] is not None:
        raise UsageError(
            "--uds and --tls-cert do not go together: a unix socket does not leave this machine.",
            "Leave one of them out.",
        )
    for name in ("host", "port") if given["uds"] is not None else ():
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--uds takes the place of --host and --port, and --{name} was given too.",
                "Leave one of them out.",
            )


@click.command(cls=Command)
@click.argument("url")
@click.option(
    "--wait", default=0.0, type=click.FloatRange(min=0), metavar="SECONDS",
    help="Keep asking for this long.  [default: ask once]",
)  # fmt: skip
@click.option(
    "--timeout", default=5.0, show_default=True, metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True), help="What the server has for one answer.",
)  # fmt: skip
@json_option
def ping(url: str, wait: float, timeout: float, as_json: bool) -> None:
    """Exit with 0 once /ping of the server at URL answers 200, with 1 if it does not in time."""
    from launcher.cli.output import print_json
    from launcher.supervision.probes import ping_url, wait_until_ready

    problem = wait_until_ready(ping_url(url), wait, timeout=timeout)
    if as_json:
        print_json({"url": url, "ready": problem is None, "problem": problem})
    elif problem is not None:
        click.echo(f"{url} is not ready: {problem}", err=True)
    sys.exit(0 if problem is None else 1)
