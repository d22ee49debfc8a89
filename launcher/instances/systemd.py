"""Tells systemd (``Type=notify``) how the service does.

The protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket that ``NOTIFY_SOCKET`` names; nothing without one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET")
        self._wants_watchdog = "WATCHDOG_USEC" in environ and environ.get("WATCHDOG_PID") in (
            None,
            str(os.getpid()),
        )

    def ready(self, status: str) -> None:
        """It serves; also the end of a reload."""
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload has begun."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The server has answered; systemd restarts a service that does not say so in time."""
        if self._wants_watchdog:
            self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> None:
        if not self._address:
            return
        # A leading @ stands for an abstract address, which begins with a null byte.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # A manager that does not listen any more is no reason to stop serving.
        with notify, contextlib.suppress(OSError):
            notify.connect(address)
            notify.sendall("\n".join(fields).encode())


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear that the service is alive; None for not at all."""
    value = environ.get("WATCHDOG_USEC")
    return int(value) / 1e6 if value and value.isdigit() else None
