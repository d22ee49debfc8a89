"""What traces cost: ``python -m benchmarks.tracing``, from the project's folder.

The launcher serves the same small model without traces, with `--otlp-endpoint` and a collector that
takes everything, and with one trace in a hundred sampled; wrk asks them in turn, several times. The
medians are printed, with the processor time that a request takes in the server (front and worker)
and in the launcher: that is much the same on a busy machine. Uses 127.0.0.1 only; ends by itself
after some 40 seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.load import post

LOADER = """
class Model:
    def predict(self, data):
        return data.sum(axis=1).to_numpy()

def _load_pyfunc(path):
    return Model()
"""
# A collector that takes everything, and keeps nothing.
SINK = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        body = folder / "body.json"
        split = {"columns": list("abcd"), "data": [[1.0, 2.0, 3.0, 4.0]] * 3}
        body.write_text(json.dumps({"dataframe_split": split}))
        model = _model(folder / "model")
        endpoint = ("--otlp-endpoint", f"http://127.0.0.1:{running.enter_context(_sink())}")
        few = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
        served = {
            "without traces": running.enter_context(_serving(model)),
            "one in a hundred": running.enter_context(_serving(model, *endpoint, **few)),
            "all requests": running.enter_context(_serving(model, *endpoint)),
        }
        for url, _ in served.values():  # what is imported at the first request counts for none
            post(f"{url}/invocations", body, "application/json", options.connections, 1)
        rates: dict[str, list[float]] = {each: [] for each in served}
        costs: dict[str, list[tuple[float, float]]] = {each: [] for each in served}
        for _ in range(options.repeats):
            for each, (url, launcher) in served.items():
                before = _processor_seconds(launcher)
                load = post(
                    f"{url}/invocations", body, "application/json", options.connections,
                    options.seconds,
                )  # fmt: skip
                after = _processor_seconds(launcher)
                rates[each].append(load.rate)
                server, own = (
                    (b - a) / load.requests * 1e6 for a, b in zip(before, after, strict=True)
                )
                costs[each].append((server, own))
        base = statistics.median(rates["without traces"])
        for each, found in rates.items():
            rate = statistics.median(found)
            server, own = (statistics.median(part) for part in zip(*costs[each], strict=True))
            print(
                f"{each:<18}{rate:6.0f} requests/s {rate / base:5.2f}   "
                f"server {server:4.0f} us/request   launcher {own:4.0f} us/request"
            )
    return 0


def _processor_seconds(launcher: psutil.Process) -> tuple[float, float]:
    """What the launcher's server and its workers have taken so far, and the launcher itself."""
    own = launcher.cpu_times()
    server = [each.cpu_times() for each in launcher.children(recursive=True)]
    return sum(each.user + each.system for each in server), own.user + own.system


def _model(path: Path) -> Path:
    (path / "code").mkdir(parents=True)
    (path / "code" / "loader_of_sums.py").write_text(LOADER)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: loader_of_sums\n    code: code\n"
    )
    (path / "requirements.txt").write_text("")
    return path


@contextlib.contextmanager
def _sink() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def _serving(model: Path, *options: str, **environ: str) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "launcher", "serve", "-m", str(model), "-p", "0"]
    with subprocess.Popen(
        [*command, "--env-manager", "local", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environ},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            found = (re.search(r"ready: (http\S+)", line) for line in process.stdout)
            yield next(filter(None, found))[1], psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
