"""Compare two revisions: ``python -m benchmarks.compare OLD NEW [--quick]``, in the repository.

Both are checked out into temporary folders and installed with the same packages into a virtualenv
each. Both serve the same model, each in an environment that it built itself, and are measured in
turn (A B B A A B ...), so that a busy machine slows both. Only the command line is used, so the
revisions may lay out their modules as they like. Ends by itself: after 10 minutes, quick after 3.
Exit code: 0, or 1 where the new one is slower than `WANTED` says, 2 where nothing was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uv

from benchmarks import bodies
from benchmarks.installing import ROOT, install_launcher, run_uv
from benchmarks.load import Load, LoadError, post, post_from_here
from benchmarks.peers import Peer
from benchmarks.running import StartError, serve

MODEL = ROOT / "fixtures" / "iris"
# The new revision's speed, of the old one's; below that it is called slower.
WANTED = 0.97
TABLE_ROWS = 10_000
TURN_SECONDS = 1.0


@dataclass(frozen=True)
class Revision:
    """One revision, installed.

    :param python: the interpreter that has it.
    :param cache: a folder of its own, with its LAUNCHER_HOME.
    """

    name: str
    python: Path
    cache: Path

    @property
    def began(self) -> Path:
        """The file in which each Python of the model's environment notes when it started."""
        return self.cache / "began"

    def peer(self) -> Peer:
        """How it is started."""
        return Peer(
            name="server",
            title=self.name,
            command=lambda setup: [
                *(str(setup.python), "-m", "launcher", "serve", "-m", str(setup.model)),
                *("-h", setup.host, "-p", str(setup.port)),
            ],
        )


@dataclass(frozen=True)
class Measure:
    """What is compared; `rate` where more is better."""

    title: str
    unit: str
    rate: bool = False


ONE_RATE = Measure("1 connection, 3 rows", "req/s", rate=True)
ONE_P50 = Measure("1 connection, 3 rows, p50", "ms")
MANY_RATE = Measure("16 connections, 3 rows", "req/s", rate=True)
MANY_P50 = Measure("16 connections, 3 rows, p50", "ms")
TABLE_P50 = Measure("10,000 rows of JSON, p50", "ms")
LAUNCH = Measure("the launcher until it starts the server", "s")
START = Measure("warm start until ready", "s")
REUSE = Measure("reuse of an environment", "s")

Samples = dict[Measure, list[float]]


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("old", help="a git revision")
    parser.add_argument("new", help="a git revision")
    parser.add_argument("--quick", action="store_true", help="3 minutes instead of 10")
    options = parser.parse_args(arguments)
    names = (f"old {options.old}", f"new {options.new}")
    deadline = time.monotonic() + (170 if options.quick else 580)
    turns = 2 if options.quick else 4
    samples: tuple[Samples, Samples] = ({}, {})
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            old = stack.enter_context(installed(options.old, folder / "old", names[0]))
            same = packages(old.python, folder)
            new = stack.enter_context(installed(options.new, folder / "new", names[1], same))
            slowest = 0.0
            pairs = 0
            while time.monotonic() + slowest < deadline:
                began = time.monotonic()
                measure_pair((old, new), samples, folder, turns, swap=pairs % 2 == 1)
                pairs += 1
                slowest = max(slowest, time.monotonic() - began)
                print(f"{pairs} pairs", file=sys.stderr, flush=True)
    except (LoadError, StartError, subprocess.CalledProcessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if not pairs:
        print(
            "Error: Installing took all the time. Run it again.",
            file=sys.stderr,
        )
        return 2
    text, slower = table(samples, names)
    print(text)
    return 1 if slower else 0


@contextlib.contextmanager
def installed(
    revision: str, folder: Path, name: str, constraints: Path | None = None
) -> Iterator[Revision]:
    """Check a revision out below `folder` and install it there while the block runs.

    :param constraints: a requirements file with the releases that its virtualenv gets.
    :raises subprocess.CalledProcessError: git does not know it, or it cannot be installed.
    """
    tree, python, cache = folder / "tree", folder / "venv" / "bin" / "python", folder / "cache"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
    try:
        run_uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
        same = ["--constraint", str(constraints)] if constraints else []
        run_uv("pip", "install", "--quiet", "--python", str(python), *same, "--editable", str(tree))
        cache.mkdir()
        found = Revision(name, python, cache)
        site_packages = install_launcher(MODEL, cache, python).parents[1]
        # A line of a .pth file that begins with "import" is run when an interpreter starts.
        note = f"import time; open({str(found.began)!r}, 'a').write('%.6f\\n' % time.monotonic())\n"
        for each in site_packages.glob("lib/python*/site-packages"):
            (each / "note_when_it_began.pth").write_text(note)
        yield found
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def packages(python: Path, folder: Path) -> Path:
    """Write the releases in a virtualenv as a file of constraints."""
    command = [uv.find_uv_bin(), "pip", "freeze", "--exclude-editable", "--python", str(python)]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    path = folder / "constraints.txt"
    path.write_text(listed.stdout)
    return path


def measure_pair(
    revisions: tuple[Revision, Revision],
    samples: tuple[Samples, Samples],
    folder: Path,
    turns: int,
    swap: bool,
) -> None:
    """Start both revisions and measure all parts in turn; adds to their samples.

    :param turns: how often each part's turn comes, for `TURN_SECONDS` each.
    :param swap: whether the new one begins.
    """
    order = [1, 0] if swap else [0, 1]
    three, table = folder / "three.json", folder / "table.json"
    if not table.exists():
        three.write_bytes(bodies.three_rows())
        table.write_bytes(bodies.as_json(bodies.many_rows(TABLE_ROWS)))
    with contextlib.ExitStack() as stack:
        urls = ["", ""]
        for n in order:
            revision = revisions[n]
            revision.began.unlink(missing_ok=True)
            called = time.monotonic()
            running = stack.enter_context(
                serve(revision.peer(), revision.python, MODEL, revision.cache)
            )
            urls[n] = running.url + "/invocations"
            began = float(revision.began.read_text().split()[0])
            add(samples[n], LAUNCH, began - called)
            add(samples[n], START, running.ready_seconds)
        for body, connections, rate, p50 in (
            (three, 1, ONE_RATE, ONE_P50),
            (three, 16, MANY_RATE, MANY_P50),
            (table, 1, None, TABLE_P50),
        ):
            for n in order:
                load_of(urls[n], body, connections, TURN_SECONDS)  # to warm up
            for _ in range(turns):
                for n in order:
                    load = load_of(urls[n], body, connections, TURN_SECONDS)
                    if rate:
                        add(samples[n], rate, load.rate)
                    add(samples[n], p50, load.p50_ms)
    for _ in range(turns):
        for n in order:
            add(samples[n], REUSE, seconds_to_reuse(revisions[n]))


def load_of(url: str, body: Path, connections: int, seconds: float) -> Load:
    """Load from wrk where it is installed; the same from this process where it is not.

    :raises LoadError: an answer was not 200.
    """
    drive: Callable[..., Load] = post if shutil.which("wrk") else post_from_here
    load = drive(url, body, "application/json", connections, seconds)
    if load.errors:
        raise LoadError(f"{load.errors} of {load.requests} requests to {url} failed")
    return load


def seconds_to_reuse(revision: Revision) -> float:
    """The seconds of a whole `launcher prepare-env`, the environment being there."""
    started = time.perf_counter()
    install_launcher(MODEL, revision.cache, revision.python)
    return time.perf_counter() - started


def add(samples: Samples, measure: Measure, value: float) -> None:
    """Add one sample."""
    samples.setdefault(measure, []).append(value)


def table(samples: tuple[Samples, Samples], names: tuple[str, str]) -> tuple[str, list[Measure]]:
    """The medians and the ratios of the pairs as text, and what the new revision is slower at.

    A ratio is the new one's speed, of the old one's: of rates new / old, of times old / new.
    """
    lines = [
        f"| | {names[0]} | {names[1]} | speed, of the old one's | quarter to three quarters | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    slower = []
    for measure, olds in samples[0].items():
        news = samples[1][measure]
        ratios = [
            new / old if measure.rate else old / new for old, new in zip(olds, news, strict=True)
        ]
        ratio = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        if ratio < WANTED:
            slower.append(measure)
        lines.append(
            f"| {measure.title}, {measure.unit} | {statistics.median(olds):.4g} | "
            f"{statistics.median(news):.4g} | {ratio:.3f} | {low:.3f} to {high:.3f} | "
            f"{'SLOWER' if ratio < WANTED else ''} |"
        )
    return "\n".join(lines), slower


if __name__ == "__main__":
    sys.exit(main())
