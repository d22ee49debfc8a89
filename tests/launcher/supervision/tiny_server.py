"""A server for tests of supervision: a real process that does what its folder says."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from launcher.supervision.deployment import Deployment, Limits, Observer
from launcher.supervision.listening_socket import bind_socket, socket_url
from launcher.supervision.log import ServerLog
from launcher.supervision.process import Command
from launcher.supervision.served_model import ServedModel
from launcher.supervision.supervisor import Supervisor
from scoring_server.events import Event

ANNOUNCING = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
options = dict(each.lstrip("-").split("=") for each in sys.argv[2:])
status = int(options["status-fd"])

def say(name, **fields):
    os.write(status, json.dumps({"event": name, **fields}).encode() + b"\\n")

def drain(*_):
    say("draining")
    sys.exit(0)

signal.signal(signal.SIGUSR1, drain)
stubborn = (folder / "stubborn").exists()
signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: sys.exit(0))
print("begun", flush=True)
if (folder / "garbage").exists():
    os.write(status, (folder / "garbage").read_bytes())
if (folder / "fail").exists():
    say("failed", message="no such thing", hint="do another", traceback="Traceback: here\\n")
    sys.exit(1)
if (folder / "exit").exists():
    os._exit(7)
say("ready")
while True:
    time.sleep(600)
"""

# It knows of no descriptors: it binds the port itself.
BINDING = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/well" else 404)
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def announcing(folder: Path, *, side_by_side: bool = True) -> Command:
    """The command of a server that announces what it does; files in ``folder`` change that."""
    return Command(
        argv=(sys.executable, "-c", ANNOUNCING, str(folder)),
        environ=os.environ,
        descriptors=lambda socket, status, _: [f"--socket-fd={socket}", f"--status-fd={status}"],
        drain_signal=signal.SIGUSR1,
        side_by_side=side_by_side,
    )


class TinyDeployment(Deployment):
    """A deployment whose commands are given: each start takes the next, the last one stays."""

    def __init__(self, *commands: Command) -> None:
        self.commands = list(commands)
        self.configured: list[tuple[int, int]] = []
        self.closed = 0

    @property
    def command(self) -> Command:
        return self.commands.pop(0) if len(self.commands) > 1 else self.commands[0]

    def configure(self, *, restarts: int, reloads: int) -> None:
        self.configured.append((restarts, reloads))

    def close(self) -> None:
        self.closed += 1


class Told(Observer):
    """Keeps what it is told; at each readiness the next of its actions is taken."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.events: list[Event] = []
        self.at_readiness: list[Callable[[], None]] = []
        self.at_reload: Callable[[], None] = lambda: None

    def ready(self, deployment: Deployment) -> None:  # noqa: ARG002
        self.told.append("ready")
        if self.at_readiness:
            self.at_readiness.pop(0)()

    def event(self, event: Event) -> None:
        self.events.append(event)

    def stopping(self) -> None:
        self.told.append("stopping")

    def reloading(self) -> None:
        self.told.append("reloading")

    def reloaded(self, failure: str | None) -> None:
        self.told.append(f"reloaded: {failure}")
        self.at_reload()


class Life:
    """A served model with all that it needs, in a loop of its own unless one is given."""

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        *,
        loop: Supervisor | None = None,
        redeploy: Callable[[], Deployment] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.observer = Told()
        self.reported: list[str] = []
        self.log = ServerLog(folder / "server.log", None)
        self.loop = loop or Supervisor(self.log, self.reported.append)
        self.socket = bind_socket("127.0.0.1", 0)
        self.model = ServedModel(
            deployment,
            self.socket,
            socket_url(self.socket),
            self.log,
            self.loop,
            limits=limits or Limits(graceful=10),
            report=self.reported.append,
            observer=self.observer,
            redeploy=redeploy,
        )

    def stop(self) -> None:
        self.model.stop(signal.SIGTERM)

    def run(self) -> None:
        """Run to the end of the model's life."""
        try:
            self.loop.run(self.model)
        finally:
            self.close()

    def close(self) -> None:
        self.socket.close()
        self.log.close()

    @property
    def logged(self) -> str:
        return self.log.path.read_text()
