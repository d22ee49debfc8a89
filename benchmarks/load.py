"""Load: one body, posted over some connections for some seconds; by wrk, or by threads here."""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("post.lua")
# How long a request may take before it counts as an error, in seconds.
REQUEST_SECONDS = 30


class LoadError(RuntimeError):
    """wrk is missing, or failed."""


@dataclass(frozen=True)
class Load:
    """What one run of load measured; times in milliseconds."""

    connections: int
    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


def post(
    url: str, body: Path, content_type: str, connections: int, seconds: float, *headers: str,
    method: str = "POST",
) -> Load:  # fmt: skip
    """Post the content of `body` over `connections` connections; ends by itself.

    :param headers: further ones, each as "Name: value".
    :param method: with GET nothing is sent of the body and its type.
    :raises LoadError: wrk is not installed, or ended with an error, or nothing was answered.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError("wrk is not installed; it is the package wrk of Debian and others")
    # One thread: it is enough for all of the servers, and leaves them the other processors.
    shape = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command = [wrk, *shape, f"--timeout={REQUEST_SECONDS}s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        [*command, "--", method, str(body), content_type, *headers],
        capture_output=True,
        text=True,
        timeout=seconds + 2 * REQUEST_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    load = Load(connections=connections, **json.loads(lines[-1]))
    if not load.requests:
        raise LoadError(f"{url} answered nothing within {seconds:g} s")
    return load


def post_from_here(
    url: str, body: Path, content_type: str, connections: int, seconds: float
) -> Load:
    """Do what `post` does without wrk, a thread and a kept connection each.

    Its own work is several times wrk's and counts in what it measures: compare it with itself only.
    """
    where = urlsplit(url)
    content, headers = body.read_bytes(), {"Content-Type": content_type}
    started = time.perf_counter()

    def drive(_: int) -> tuple[list[float], int]:
        """Post until the time is over; the milliseconds of each answer, and the wrong ones."""
        took: list[float] = []
        errors = 0
        connection = http.client.HTTPConnection(where.netloc, timeout=REQUEST_SECONDS)
        while (began := time.perf_counter()) < started + seconds:
            try:
                connection.request("POST", where.path, content, headers)
                answer = connection.getresponse()
                answer.read()
                errors += answer.status != 200
            except (OSError, http.client.HTTPException):
                errors += 1
                connection.close()
            took.append((time.perf_counter() - began) * 1e3)
        connection.close()
        return took, errors

    with ThreadPoolExecutor(connections) as threads:
        driven = list(threads.map(drive, range(connections)))
    took = sorted(each for times, _ in driven for each in times)
    percentiles = statistics.quantiles(took, n=100, method="inclusive")
    return Load(
        connections=connections,
        requests=len(took),
        seconds=time.perf_counter() - started,
        p50_ms=percentiles[49],
        p90_ms=percentiles[89],
        p99_ms=percentiles[98],
        max_ms=took[-1],
        errors=sum(errors for _, errors in driven),
    )
