"""Models and systems that fail in ways that must cost one request, or one process, at most."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
import requests

from scoring_server.worker.channel import ANSWER, Decoder, NotAMessage, encode, new_mark
from tests.scoring_server.serving_process import serving, write_config

# The first row of a request says what the model does: `commands` has a function for each number.
OBEDIENT = """
import errno, os, pathlib, signal, socket, stat, subprocess, sys, threading, time

HERE = pathlib.Path(__file__).parent

def channels():
    # The sockets that this process has: its end of the channel alone.
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:
            pass
    return found

def write(data):
    for descriptor in channels():
        os.write(descriptor, data)
    time.sleep(60)

def close():
    for descriptor in channels():
        socket.socket(fileno=os.dup(descriptor)).shutdown(socket.SHUT_RDWR)
    time.sleep(60)

commands = {
    1: lambda: write(b"hello\\n" + bytes(11)),
    2: lambda: write(b"\\xff" * 100),
    3: lambda: write(b"{}\\n"),
    4: close,
    5: lambda: os._exit(7),
    6: lambda: time.sleep(60),
}

class Model:
    def predict(self, model_input):
        commands.get(int(model_input.iloc[0, 0]), lambda: None)()
        return model_input.sum(axis=1).to_numpy()

# In place of a process limit, which root does not have: while the file is there, forks fail.
fork = os.fork

def refusing():
    if (HERE / "no-fork").exists():
        (HERE / "refused").touch()
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
    return fork()

os.fork = refusing

def _load_pyfunc(path):
    return Model()
"""


def command(url: str, number: int, timeout: float = 30) -> requests.Response:
    """Have the model do what the number stands for; 0 for nothing."""
    body = {"dataframe_split": {"columns": list("abcd"), "data": [[float(number), 0, 0, 0]]}}
    return requests.post(f"{url}/invocations", json=body, timeout=timeout)


def metric(url: str, name: str) -> float:
    """A sample of /metrics; 0 where there is none."""
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = re.search(f"^{re.escape(name)} (\\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def replaced(url: str, reason: str) -> float:
    return metric(url, f'launcher_worker_replacements_total{{reason="{reason}"}}')


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_model_that_writes_into_its_channel_costs_its_request_alone(
    tmp_path: Path, number: int
) -> None:
    with serving(write_config(tmp_path / "model", OBEDIENT)) as (url, _):
        answer = command(url, number)
        assert answer.status_code == 500
        assert "the server's own channel" in answer.json()["message"]
        assert command(url, 0).json() == {"predictions": [0.0]}
        assert replaced(url, "channel") == 1


@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_a_fork_that_fails_is_tried_again(tmp_path: Path, kind: str) -> None:
    config = write_config(tmp_path / "model", OBEDIENT, timeout=2)
    code = tmp_path / "model" / "code"
    with serving(config) as (url, process):
        assert command(url, 0).status_code == 200
        (code / "no-fork").touch()
        assert command(url, 5 if kind == "crash" else 6).status_code == (
            500 if kind == "crash" else 504
        )
        while not (code / "refused").exists():
            time.sleep(0.01)
        # Killed although no fork can take its place, and reaped; the front answers all the while.
        deadline = time.monotonic() + 30
        while re.search('process="worker"', requests.get(f"{url}/metrics", timeout=30).text):
            assert time.monotonic() < deadline, "the worker lives on"
            time.sleep(0.01)
        assert requests.get(f"{url}/ping", timeout=30).status_code == 503
        assert process.poll() is None
        (code / "no-fork").unlink()
        while requests.get(f"{url}/ping", timeout=30).status_code != 200:
            time.sleep(0.01)
        assert command(url, 0).json() == {"predictions": [0.0]}


@pytest.mark.slow
def test_pages_wait_for_a_fork_that_fails(tmp_path: Path) -> None:
    code = tmp_path / "model" / "code"
    with serving(write_config(tmp_path / "model", OBEDIENT)) as (url, process):
        (code / "no-fork").touch()
        # Nothing comes of it in the page's time, and nobody is killed for it.
        assert requests.get(f"{url}/info", timeout=60).status_code == 504
        assert process.poll() is None
        (code / "no-fork").unlink()
        assert requests.get(f"{url}/info", timeout=60).status_code == 200


def test_a_stop_does_not_wait_for_forks_that_fail(tmp_path: Path) -> None:
    code = tmp_path / "model" / "code"
    with serving(write_config(tmp_path / "model", OBEDIENT)) as (url, process):
        command(url, 0)
        (code / "no-fork").touch()
        assert command(url, 5).status_code == 500
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


MARK = new_mark()


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"\xff" * 100,
        b"".join(encode(new_mark(), ANSWER, 1, (200, [], []), b"body")),
        b"".join(encode(MARK, ANSWER, 1, b"x" * (1 << 18))),
        # Within a message: the meta value, the body.
        b"".join(encode(MARK, ANSWER, 1, (200, [], []), b"body" * 9)).replace(b"[", b"\n[", 1),
        b"".join(encode(MARK, ANSWER, 1, (200, [], []), b"body" * 9)).replace(b"bo", b"bxo", 1),
    ],
    # Not by their bytes: marks are random.
    ids=["text", "ones", "another mark", "a large meta", "in the meta", "in the body"],
)
def test_what_is_no_message_reaches_nobody(data: bytes) -> None:
    decoder = Decoder(MARK)
    with pytest.raises(NotAMessage):
        list(decoder.feed(data))


def test_messages_in_any_pieces_are_taken() -> None:
    decoder = Decoder(MARK)
    wire = b"".join(encode(MARK, ANSWER, 7, (200, [], []), b"x" * 20_000)) * 2
    got = [message for at in range(0, len(wire), 7) for message in decoder.feed(wire[at : at + 7])]
    assert [(each.number, each.meta, len(each.body)) for each in got] == [
        (7, (200, [], []), 20_000)
    ] * 2


# Names of header fields that cannot be encoded, as if a protocol of ours had a bug.
UNSENDABLE = """
import sys

mlflow = next(module for name, module in sys.modules.items() if name.endswith(".protocols.mlflow"))

class Model:
    def predict(self, model_input):
        return model_input.sum(axis=1).to_numpy()

write = mlflow.MlflowProtocol.write

def broken(self, answer, model_input):
    made = write(self, answer, model_input)
    if float(model_input.data.iloc[0, 0]) == 1.0:
        made.headers.append(("X-Broken", "\\u20ac"))
    return made

mlflow.MlflowProtocol.write = broken

def _load_pyfunc(path):
    return Model()
"""


def test_an_error_in_handling_one_answer_ends_that_connection_alone(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model", UNSENDABLE)) as (url, _):
        with pytest.raises(requests.ConnectionError):
            command(url, 1)
        assert command(url, 0).status_code == 200
        workers = requests.get(f"{url}/metrics", timeout=30).text
        assert "worker_replacements_total{" not in workers
