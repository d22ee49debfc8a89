"""Requests a second for one row on one connection: a crate here, and behind httpuv.

    python -m benchmarks.r_crate [--seconds 5] [--rounds 3]

R with jsonlite and httpuv has to be there. httpuv serves as MLflow's R package starts it
(`httpuv::runServer`, one R process, the body read by jsonlite, the answer written by it); MLflow's
package itself is not needed. Both serve the same crate, take turns, and are asked first whether
they answer the same to the same `/predict`. Prints one line of JSON: requests a second,
milliseconds at the median, processor milliseconds a request of all processes of the server, for
`/invocations` of the launcher, its `/predict`, and httpuv's; and the first rate beside the last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.load import post as load
from benchmarks.running import READY_SECONDS, Running, free_port

MODELS = """
folder <- commandArgs(TRUE)[[1]]
save <- function(fn, name, ...) {
  environment(fn) <- list2env(list(...), parent = baseenv())
  dir.create(file.path(folder, name))
  saveRDS(serialize(structure(fn, class = "crate"), NULL), file.path(folder, name, "crate.bin"))
  writeLines(c("flavors:", "  crate:", "    version: 0.1.0", "    model: crate.bin"),
             file.path(folder, name, "MLmodel"))
}
save(function(df) df$x * 2, "twice")
save(function(df) stats::predict(fit, df), "lm", fit = lm(mpg ~ wt, mtcars))
"""
HTTPUV = """
crate <- unserialize(readRDS(commandArgs(TRUE)[[1]]))
httpuv::runServer("127.0.0.1", as.integer(commandArgs(TRUE)[[2]]), list(
  onHeaders = function(request) NULL,
  call = function(request) {
    if (request$PATH_INFO == "/ping") {
      return(list(status = 200L, headers = list("Content-Type" = "application/json"), body = ""))
    }
    table <- as.data.frame(jsonlite::fromJSON(
      rawToChar(request$rook.input$read()), simplifyDataFrame = FALSE, simplifyMatrix = FALSE
    ))
    answer <- jsonlite::toJSON(crate(table), auto_unbox = TRUE, digits = NA)
    list(status = 200L, headers = list("Content-Type" = "application/json; charset=UTF-8"),
         body = charToRaw(enc2utf8(answer)))
  }
))
"""
BODIES = {"twice": '{"x":[1.5]}', "lm": '{"wt":[3]}'}


@contextmanager
def serving(command: list[str], url: str, home: str) -> Iterator[psutil.Process]:
    """Run a server until the block ends; raises `SystemExit` where it does not come up."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LAUNCHER_HOME": home},
    )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(f"{url}/ping"):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not serve")
            time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).status_code == 200
    except requests.RequestException:
        return False


def measure(process: psutil.Process, url: str, body: Path, seconds: float) -> dict[str, float]:
    """Load on one connection: rate, median and processor time a request."""
    kind = "application/json"
    load(url, body, kind, 1, 1)
    server = Running(process, url, 0.0)
    before = server.processor_seconds()
    found = load(url, body, kind, 1, seconds)
    if found.errors:
        sys.exit(f"{found.errors} requests failed")
    taken = server.processor_seconds() - before
    return {
        "rate": found.rate,
        "p50_ms": found.p50_ms,
        "processor_ms": 1000 * taken / found.requests,
    }


def compare(model: Path, body: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Serve a crate here and by httpuv, and ask them in turn; medians of the rounds."""
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in ("launcher", "httpuv")}
    ports = {name: url.rpartition(":")[2] for name, url in urls.items()}
    serve = [sys.executable, "-m", "launcher", "serve", "-m", str(model), "-p", ports["launcher"]]
    httpuv = ["Rscript", "-e", HTTPUV, str(model / "crate.bin"), ports["httpuv"]]
    own = body.with_suffix(".own.json")
    row = json.loads(body.read_text())
    own.write_text(
        json.dumps(
            {
                "dataframe_split": {
                    "columns": list(row),
                    "data": [[each[0] for each in row.values()]],
                }
            }
        )
    )
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in (*urls, "launcher_predict")}
    home = str(model.parent / "home")
    with (
        serving(serve, urls["launcher"], home) as ours,
        serving(httpuv, urls["httpuv"], home) as theirs,
    ):
        answers = {
            requests.post(f"{url}/predict", data=body.read_bytes(), timeout=30).text
            for url in urls.values()
        }
        if len(answers) != 1:
            sys.exit(f"the answers differ: {answers}")
        for _ in range(rounds):
            url = urls["launcher"]
            rows["launcher"].append(measure(ours, f"{url}/invocations", own, seconds))
            rows["httpuv"].append(measure(theirs, f"{urls['httpuv']}/predict", body, seconds))
            rows["launcher_predict"].append(measure(ours, f"{url}/predict", body, seconds))
    found: dict[str, Any] = {
        name: {key: round(statistics.median(row[key] for row in of), 3) for key in of[0]}
        for name, of in rows.items()
    }
    found["ratio"] = round(found["launcher"]["rate"] / found["httpuv"]["rate"], 2)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure both models and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.r_crate")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["Rscript", "-e", MODELS, name], check=True)
        found = {}
        for model, text in BODIES.items():
            body = folder / f"{model}.json"
            body.write_text(text)
            found[model] = compare(folder / model, body, options.seconds, options.rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
