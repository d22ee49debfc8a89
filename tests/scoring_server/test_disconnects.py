"""Clients that reset their connections while they are being answered."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

import requests
from serving_process import BODY, serving, write_config

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def test_resets_cost_no_worker_its_life(tmp_path: Path) -> None:
    with serving(write_config(tmp_path / "model")) as (url, _):
        parts = urlsplit(url)
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
        request = f"{head}Content-Type: application/json\r\n\r\n".encode() + BODY
        before = requests.get(f"{url}/info", timeout=30).json()["pid"]
        for _ in range(5):
            clients = []
            for number in range(40):
                client = socket.create_connection((parts.hostname, parts.port), timeout=30)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                client.sendall(request)
                if number % 2:
                    client.shutdown(socket.SHUT_WR)
                clients.append(client)
            for client in clients:
                client.close()
        assert requests.get(f"{url}/info", timeout=30).json()["pid"] == before
        assert "worker_replacements_total{" not in requests.get(f"{url}/metrics", timeout=30).text
