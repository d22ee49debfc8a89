"""A served model under constant load while its model, its clients and its log's disk misbehave.

What goes wrong with its processes and around them is in tests/faults. Prints what became of the
requests.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.faults.load import Load
from tests.launcher.launcher_process import LONGEST, Launcher, ObedientModel, command, invoke

# Requests that are late because other tests run beside would count as lost.
pytestmark = [pytest.mark.slow, pytest.mark.alone]

Launch = Callable[..., Launcher]
TABLE: list[str] = []
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def load_on(url: str) -> Load:
    question = json.dumps(command("done")).encode(), {"Content-Type": "application/json"}
    return Load(urlsplit(url).port or 80, lambda _: question, lambda _body, _: True)


@contextmanager
def under_load(launcher: Launcher, what: str) -> Iterator[tuple[str, Load]]:
    """The URL and the load on it while the block does something to it, and for a while after."""
    url = launcher.ready()
    load = load_on(url)
    try:
        assert load.wait_for_answers(100, LONGEST)
        started = time.monotonic()
        yield url, load
        assert load.wait_for_answers(200, LONGEST)
    finally:
        load.end()
    outcomes = load.outcomes
    TABLE.append(
        f"{what:<34} {sum(outcomes.values()):>6} {outcomes['answered']:>8} {outcomes['failed']:>6} "
        f"{outcomes['refused']:>7} {outcomes['lost']:>5} {load.longest_gap(started):>8.2f} s"
    )


@pytest.fixture(scope="module", autouse=True)
def print_the_table(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    head = f"{'fault':<34}   sent answered failed refused  lost   recovery"
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print("\n", head, *TABLE, sep="\n")


@pytest.fixture
def served(launch: Launch, obedient: ObedientModel) -> Callable[..., Launcher]:
    def serve(*arguments: str, **options: dict[str, str]) -> Launcher:
        return launch(
            *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local", "-w", "2"),
            *arguments, **options,
        )  # fmt: skip

    return serve


def server_of(launcher: Launcher) -> psutil.Process:
    return psutil.Process(launcher.process.pid).children()[0]


@pytest.mark.parametrize(
    ("what", "status"), [("sleep 600", 504), ("seize 600", 504), ("segfault", 500), ("exit", 500)]
)
def test_the_model_fails(served: Callable[..., Launcher], what: str, status: int) -> None:
    launcher = served("--timeout", "2")
    with under_load(launcher, f"the model: {what}, 3 times") as (url, load):
        for _ in range(3):
            assert invoke(url, command(what)).status_code == status
            assert load.wait_for_answers(50, LONGEST)
    assert load.outcomes["lost"] == 0
    # Those that were inside the process when it was given up; here one at a time.
    assert load.outcomes["failed"] <= 3
    assert launcher.stop() == 0


def test_the_model_leaks(served: Callable[..., Launcher]) -> None:
    launcher = served("--max-requests", "100", "--max-requests-jitter", "20")
    with under_load(launcher, "the model leaks; max-requests 100") as (url, load):
        for _ in range(100):
            assert invoke(url, command("leak")).status_code == 200
        assert load.wait_for_answers(300, LONGEST)
        largest = max(each.memory_info().rss for each in server_of(launcher).children())
        base = server_of(launcher).memory_info().rss
    assert load.outcomes["lost"] == load.outcomes["failed"] == 0
    assert largest < base + 80 * 2**20
    assert launcher.stop() == 0


def test_the_disk_of_the_log_is_full(served: Callable[..., Launcher], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: run as root")
    try:
        launcher = served("--access-log", environ={"LAUNCHER_HOME": str(disk)})
        with under_load(launcher, "the disk of the log is full") as (_, load):
            deadline = time.monotonic() + 60
            while "cannot be written" not in launcher.output:
                assert load.wait_for_answers(50, LONGEST)
                assert time.monotonic() < deadline
        assert set(load.outcomes) == {"answered"}
        assert launcher.stop() == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_clients_are_cut_in_the_midst(served: Callable[..., Launcher]) -> None:
    launcher = served()
    with under_load(launcher, "200 clients cut in mid-request") as (url, load):
        address = urlsplit(url)
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        for number in range(200):
            with socket.create_connection((address.hostname, address.port)) as client:
                client.sendall(head[: 10 + number % len(head)] + b"{" * (number % 40))
                if number % 2:  # a reset in place of an orderly end
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert set(load.outcomes) == {"answered"}
    assert launcher.stop() == 0


FAST_CLIENTS = """
import json, selectors, socket, sys, time
host, (port, connections, seconds) = sys.argv[1], map(int, sys.argv[2:])
body = json.dumps({"dataframe_records": [{"command": "done"}]}).encode()
request = (b"POST /invocations HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\n"
           b"Content-Length: %d\\r\\n\\r\\n" % len(body)) + body
selector, sent, took = selectors.DefaultSelector(), {}, []
for _ in range(connections):
    client = socket.create_connection((host, port))
    selector.register(client, selectors.EVENT_READ)
    client.sendall(request)
    sent[client] = time.perf_counter()
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    for key, _ in selector.select(1):
        client = key.fileobj
        answer = client.recv(65536)
        now = time.perf_counter()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
        took.append(now - sent[client])
        client.sendall(request)
        sent[client] = time.perf_counter()
took.sort()
print(took[int(len(took) * 0.99)])
"""


def test_a_thousand_slow_connections_do_not_slow_the_fast_ones(
    served: Callable[..., Launcher],
) -> None:
    launcher = served()
    address = urlsplit(launcher.ready())

    def p99() -> float:
        done = subprocess.run(
            [
                *(sys.executable, "-c", FAST_CLIENTS, str(address.hostname), str(address.port)),
                *("200", "4"),
            ],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout)

    slow: list[socket.socket] = []
    without, within = [], []
    try:
        # In turn, since other processes use this machine too.
        for _ in range(3):
            without.append(p99())
            for _ in range(1000):
                client = socket.create_connection((address.hostname, address.port))
                client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9")
                slow.append(client)
            within.append(p99())
            while slow:
                slow.pop().close()
    finally:
        for client in slow:
            client.close()
    ratio = sorted(within)[1] / sorted(without)[1]
    TABLE.append(
        f"200 fast connections: p99 {sorted(without)[1] * 1e3:.0f} ms; beside 1,000 slow ones "
        f"{sorted(within)[1] * 1e3:.0f} ms, ratio {ratio:.2f}"
    )
    assert ratio < 2
    assert launcher.stop() == 0


LARGE_LOADER = """
import gc, sys

class Model:
    def __init__(self):
        # A third of it is Python objects, which reference counts would copy.
        self.large = bytearray(b"x" * 350_000_000)
        self.objects = [(number, str(number)) for number in range(1_000_000)]

    def predict(self, data):
        return [len(self.objects) + sum(self.large[:: 1 << 12])]


def _load_pyfunc(path):
    return Model()
"""


def test_workers_share_a_large_model(launch: Launch, obedient: ObedientModel) -> None:
    (obedient.path / "code" / "obedient_model.py").write_text(LARGE_LOADER)
    if psutil.virtual_memory().available < 2 * 2**30:
        pytest.skip("not enough memory for a model of 500 MB: run with 4 GB free")
    sizes = {}
    for workers in (1, 2, 4):
        launcher = launch(
            *("serve", "-m", obedient.path, "-p", "0", "--env-manager", "local"),
            *("-w", str(workers)),
        )
        load = load_on(launcher.ready())
        assert load.wait_for_answers(40 * workers, LONGEST)
        load.end()
        server = server_of(launcher)
        family = [server, *server.children(recursive=True)]
        sizes[workers] = sum(each.memory_full_info().pss for each in family) / 2**20
        assert launcher.stop() == 0
    TABLE.append(
        "PSS of a model of 500 MB: "
        + ", ".join(f"{workers} workers {size:.0f} MB" for workers, size in sizes.items())
        + f"; 4 of 1: {sizes[4] / sizes[1]:.2f}"
    )
    assert sizes[4] < 1.3 * sizes[1]


def test_a_worker_of_a_small_model_has_little_of_its_own(launch: Launch, iris: Path) -> None:
    """What each would import or write to by itself is there before the fork: 11 MB when written."""
    launcher = launch("serve", "-m", iris, "-p", "0", "-w", "2")
    url = launcher.ready()
    rows = {"dataframe_split": {"columns": COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]]}}
    question = json.dumps(rows).encode(), {"Content-Type": "application/json"}
    load = Load(urlsplit(url).port or 80, lambda _: question, lambda _body, _: True)
    assert load.wait_for_answers(1000, LONGEST)
    load.end()
    own = [each.memory_full_info().uss / 1e6 for each in server_of(launcher).children()]
    assert launcher.stop() == 0
    TABLE.append(f"a worker's own memory: {', '.join(f'{each:.1f}' for each in own)} MB")
    # A process that predicts at all writes to some of its pages.
    assert len(own) == 2
    assert all(1 < each < 15 for each in own)
