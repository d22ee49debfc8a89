"""The socket is bound before anything slow, and does not listen."""

from __future__ import annotations

import re
import resource
import socket
import subprocess
import sys
import threading

import pytest

from launcher.errors import UsageError
from launcher.supervision.listening_socket import bind_socket, socket_url
from launcher.supervision.probes import Probe, Unasked, ping, ping_url, wait_until_ready


def test_a_bound_socket_refuses_until_it_listens() -> None:
    with bind_socket("127.0.0.1", 0) as bound:
        assert ping(ping_url(socket_url(bound))) == "nothing listens there"


def test_who_has_no_descriptor_to_ask_with_hears_nothing_of_the_server() -> None:
    asked, silent = threading.Event(), threading.Event()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with bind_socket("127.0.0.1", 0) as bound:
        url = ping_url(socket_url(bound))
        ping(url)  # what it imports is here
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            assert isinstance(ping(url), Unasked)
            probe = Probe(url, 0.01, on_answer=asked.set, silence=0.1, on_silent=silent.set)
            assert not silent.wait(0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert silent.wait(30)
        probe.stop()
    assert not asked.is_set()


def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} on 127.0.0.1 is taken"):
            bind_socket("127.0.0.1", port)


def test_a_taken_port_says_who_has_it_and_which_is_free() -> None:
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"
    with subprocess.Popen(
        [sys.executable, "-uc", f"{script}; input()", "that-has-it"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout
        port = int(holder.stdout.readline())
        with pytest.raises(UsageError) as raised:
            bind_socket("127.0.0.1", port)
        assert f"taken by process {holder.pid} ({sys.executable} -uc" in raised.value.message
        offered = re.match(r"(\d+) is free: --port \1\.", raised.value.hint or "")
        assert offered
        bind_socket("127.0.0.1", int(offered[1])).close()
        holder.communicate("")


def test_a_port_that_another_launcher_has_bound_is_taken_too() -> None:
    with bind_socket("127.0.0.1", 0) as first, pytest.raises(UsageError, match="is taken"):
        bind_socket("127.0.0.1", first.getsockname()[1])


def test_connections_that_linger_do_not_take_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # The side that closes first keeps the port for a while (TIME_WAIT).
        accepted.close()
        client.close()
    with bind_socket("127.0.0.1", port) as bound:
        assert bound.getsockname()[1] == port


def test_a_port_that_was_chosen_stays_when_a_server_shuts_the_socket_down() -> None:
    with bind_socket("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        bound.listen()
        bound.shutdown(socket.SHUT_RDWR)
        bound.listen()
        assert bound.getsockname()[1] == port
        socket.create_connection(("127.0.0.1", port)).close()


def test_an_unknown_host() -> None:
    with pytest.raises(UsageError, match=r"no\.such\.host\.invalid"):
        bind_socket("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")]
)
def test_the_url_is_one_that_a_client_here_can_use(host: str, expected: str) -> None:
    with bind_socket(host, 0) as bound:
        assert socket_url(bound).startswith(expected)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:port"])
def test_what_is_not_an_http_url(url: str) -> None:
    with pytest.raises(UsageError):
        ping_url(url)


def test_waiting_ends_with_the_last_reason() -> None:
    with bind_socket("127.0.0.1", 0) as bound:
        assert wait_until_ready(ping_url(socket_url(bound)), seconds=0.3) == "nothing listens there"
