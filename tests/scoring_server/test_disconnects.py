"""Clients that are gone when they are answered."""

from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.scoring_server.serving_process import BODY, serving, write_config

# As SUMS, but the first prediction of a process waits until a file is there.
WAITING = """
import pathlib, time

GATE = pathlib.Path(__file__).with_name("gate")

class Model:
    def predict(self, model_input):
        while not GATE.exists():
            time.sleep(0.01)
        return model_input.sum(axis=1).to_numpy()

def _load_pyfunc(path):
    return Model()
"""
JSON = {"Content-Type": "application/json"}


def test_clients_that_are_gone_cost_no_worker_its_life(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model", WAITING)) as (url, _):
        before = workers(url)
        clients = [post_without_reading(url) for _ in range(8)]
        while "launcher_in_flight_requests 0" in requests.get(f"{url}/metrics", timeout=30).text:
            time.sleep(0.01)
        for client in clients:
            client.close()
        (tmp_path / "model" / "code" / "gate").touch()
        done = requests.post(f"{url}/invocations", data=BODY, headers=JSON, timeout=60)
        assert done.status_code == 200
        assert workers(url) == before
        assert "worker_replacements_total{" not in requests.get(f"{url}/metrics", timeout=30).text


def test_a_worker_that_hangs_is_replaced_although_its_client_is_gone(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model", WAITING, timeout=1)) as (url, _):
        before = workers(url)
        client = post_without_reading(url)
        while "launcher_in_flight_requests 0" in requests.get(f"{url}/metrics", timeout=30).text:
            time.sleep(0.01)
        # With a reset: the end of what it sends alone is no reason to give it up.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        deadline = time.monotonic() + 30
        while workers(url) == before:
            assert time.monotonic() < deadline, "the worker that hangs is still there"
            time.sleep(0.01)
        (tmp_path / "model" / "code" / "gate").touch()
        done = requests.post(f"{url}/invocations", data=BODY, headers=JSON, timeout=60)
        assert done.status_code == 200


def workers(url: str) -> list[str]:
    return re.findall(r'process="worker",pid="(\d+)"', requests.get(f"{url}/metrics").text)


def post_without_reading(url: str) -> socket.socket:
    """Send a request; what is sent to it after `close` is answered with a reset."""
    parts = urlsplit(url)
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
    client = socket.create_connection((parts.hostname, parts.port), timeout=30)
    client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + BODY)
    return client
