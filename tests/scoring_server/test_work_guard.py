"""How much work a request and a start are, in counts that do not depend on the machine's load.

The bounds are what was measured, and a little more. A test that fails here says that a change made
every request or start dearer: it may be worth it, and then the bound goes up with a reason.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from scoring_server.access_token import AccessToken
from scoring_server.config import ServerConfig
from scoring_server.front.front import STOP_LINGER_SECONDS, Front
from scoring_server.model.loading import load_model
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring.scorer import Scorer
from scoring_server.serving import make_service
from scoring_server.status import StatusChannel
from tests.scoring_server.serving_process import BODY, ROOT, serving, write_config

REQUESTS = 200
# front: wait, read the request, hand it over; wait, read the answer, send it. worker: read, write.
SYSTEM_CALLS_PER_REQUEST = 9
# Python and C functions that are called to parse three rows, apply the signature, and encode.
CALLS_PER_REQUEST = 250
# Of these, what the front calls from a request's bytes to its answer's: the head has come before,
# as that of most requests, or is new.
FRONT_CALLS_PER_REQUEST, FRONT_CALLS_WITH_NEW_HEAD = 105, 157
# 8 of them are the direct lane, stacking and Arrow.
MODULES_OF_THE_SERVER = 133

STARTED = """
import sys
import numpy, pandas
# Where pyarrow is installed, pandas 3 keeps text in it and imports more of it with the first.
pandas.Index(["a"])
before = set(sys.modules)
sys.path.insert(0, {root!r})
from scoring_server.config import ServerConfig
from scoring_server.model.loading import load_model
import scoring_server.command_line
from scoring_server.serving import make_service
config = ServerConfig.read({config!r})
make_service(config, load_model(config))
print(*sorted(set(sys.modules) - before))
"""


def test_a_start_imports_little_beyond_numpy_and_pandas(tmp_path: Path) -> None:
    config = write_config(tmp_path / "model")
    script = STARTED.format(root=str(ROOT), config=str(config))
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    modules = done.stdout.split()
    assert "scoring_server.front.front" in modules
    heavy = {"flask", "werkzeug", "jinja2", "gunicorn", "mlflow", "requests", "yaml", "pyarrow"}
    # pandas imports pyarrow by itself where it is installed.
    alone = "import sys, pandas; print(*(set(sys.modules)))"
    pandas = subprocess.run([sys.executable, "-c", alone], stdout=subprocess.PIPE, text=True)
    modules = [name for name in modules if name not in set(pandas.stdout.split())]
    assert not heavy & {name.partition(".")[0] for name in modules}
    assert len(modules) <= MODULES_OF_THE_SERVER, modules


# Alone: a busy machine has the worker look for its next request in vain.
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not here: apt-get install strace"
)
def test_system_calls_per_request(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-o", str(trace)]
    if subprocess.run([*tracer, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no process can be traced here: run as root, or allow ptrace")
    # What a neighbour adds it adds by chance; a call too many is there each time.
    per_request = min(calls_per_request(tmp_path / f"model{n}", trace, tracer) for n in range(3))
    assert per_request > 4, "the trace does not have the server's calls"
    assert per_request <= SYSTEM_CALLS_PER_REQUEST, traced_calls(trace)[-30:]


def calls_per_request(model: Path, trace: Path, tracer: list[str]) -> float:
    with serving(write_config(model), *tracer) as (url, process):
        with requests.Session() as session:
            ask(session, url, 5)
            before = len(traced_calls(trace))
            ask(session, url, REQUESTS)
            calls = traced_calls(trace)[before:]
        # strace ends with what it traces, and not by the signal that `serving` sends it.
        traced = int(re.match(r"\d+", trace.read_text())[0])  # type: ignore[index]
        subprocess.run(["kill", str(traced)], check=True)
        process.wait(30)
    return len(calls) / REQUESTS


def traced_calls(trace: Path) -> list[str]:
    """The system calls; those that another process's interrupted have two lines in the trace."""
    return [line for line in trace.read_text().splitlines() if " resumed>" not in line]


def ask(session: requests.Session, url: str, count: int) -> None:
    headers = {"Content-Type": "application/json"}
    for _ in range(count):
        answer = session.post(f"{url}/invocations", data=BODY, headers=headers, timeout=60)
        assert answer.json() == {"predictions": [10.0, 10.0, 10.0]}


def test_functions_called_per_request_do_not_grow_with_the_rows(tmp_path: Path) -> None:
    config = ServerConfig.read(str(write_config(tmp_path / "model")))
    scorer = Scorer(config, load_model(config))
    three = calls_to_answer(scorer, 3)
    assert three <= CALLS_PER_REQUEST
    # Not one call a row; the two differ by branches that pandas takes for large tables.
    assert calls_to_answer(scorer, 10_000) <= three + 150


def calls_to_answer(scorer: Scorer, rows: int) -> int:
    """How many functions are called to parse, apply the signature and encode."""
    document = {"dataframe_split": {"columns": list("abcd"), "data": [[1.5, 2.0, 3.0, 4.0]] * rows}}
    protocol = MlflowProtocol(ServerConfig())
    request = Request(
        protocol, protocol.routes[0], "POST", "/invocations", {}, "",
        {"content-type": "application/json"}, json.dumps(document).encode(),
    )  # fmt: skip
    answer = scorer.predict(scorer.read(request))
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        protocol.write(answer, scorer.read(request))
    finally:
        sys.setprofile(None)
    return calls


def test_functions_that_the_front_calls_for_a_request(tmp_path: Path) -> None:
    path = write_config(tmp_path / "model", page=False)
    known, new = asyncio.new_event_loop().run_until_complete(calls_of_the_front(path))
    assert 50 < known <= FRONT_CALLS_PER_REQUEST
    assert known < new <= FRONT_CALLS_WITH_NEW_HEAD


async def calls_of_the_front(path: Path) -> tuple[float, float]:
    """How many functions the front calls for a request: its head has come before, or is new."""
    config = ServerConfig.read(str(path))
    service = make_service(config, load_model(config))
    calls = 0

    def count(frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        file = frame.f_code.co_filename
        if "/scoring_server/front/" in file or file.endswith("/worker/channel.py"):
            calls += event in ("call", "c_call")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        front = Front(service, listener, StatusChannel(None), AccessToken())
        running = asyncio.ensure_future(front.run())
        while not front.is_ready:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        found = []
        for field in ("", "X-Request-Id: {}\r\n"):
            for number in range(REQUESTS + 5):
                if number == 5:
                    calls = 0
                    sys.setprofile(count)
                head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                head += field.format(number) + f"Content-Length: {len(BODY)}\r\n\r\n"
                writer.write(head.encode() + BODY)
                answer = await reader.readuntil(b"}")
                assert answer.startswith(b"HTTP/1.1 200 ")
            sys.setprofile(None)
            found.append(calls / REQUESTS)
        writer.close()
        front.stop(STOP_LINGER_SECONDS)
        await running
    return found[0], found[1]
