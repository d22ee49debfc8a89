"""Load from wrk: one body, posted over some connections for some seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

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


def post(url: str, body: Path, content_type: str, connections: int, seconds: float) -> Load:
    """Post the content of `body` over `connections` connections; ends by itself.

    :raises LoadError: wrk is not installed, or ended with an error.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError("wrk is not installed; it is the package wrk of Debian and others")
    # One thread: it is enough for all of the servers, and leaves them the other processors.
    shape = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command = [wrk, *shape, f"--timeout={REQUEST_SECONDS}s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        [*command, "--", str(body), content_type],
        capture_output=True,
        text=True,
        timeout=seconds + 2 * REQUEST_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return Load(connections=connections, **json.loads(lines[-1]))
