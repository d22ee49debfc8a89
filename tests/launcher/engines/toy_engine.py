"""An engine from outside: enters itself among the engines, then runs the launcher's command line.

Its server binds the port itself and knows of no descriptors: ``python toy_engine.py serve ...``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.cli.main import main
from launcher.engines.engine import Assignment, Engine, ServerOptions
from launcher.engines.registry import ENGINES
from launcher.errors import UsageError
from launcher.model.mlmodel import Model
from launcher.supervision.process import Command

SERVER = """
import http.server, json, pathlib, sys

told = json.loads(pathlib.Path(sys.argv[1], "toy.json").read_text())


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer("well") if self.path == "/well" else self.send_error(404)

    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"predictions": rows["inputs"], "model": told["model"]})


http.server.ThreadingHTTPServer(("127.0.0.1", told["port"]), Handler).serve_forever()
"""


class Toy(Engine):
    """Answers what it is sent."""

    name = "toy"
    requirements = ("six",)
    younger = ()
    packages = ()
    options = frozenset({"host", "port", "graceful_timeout"})

    def check(self, model: Model, options: ServerOptions) -> None:  # noqa: ARG002
        if "toy" not in model.flavors:
            raise UsageError(f"{model.path} has no toy flavor.", "Log one.")

    def configure(
        self,
        assignment: Assignment,
        folder: Path,
        *,
        restarts: int,  # noqa: ARG002
        reloads: int,  # noqa: ARG002
    ) -> None:
        import json

        folder.mkdir(parents=True, exist_ok=True)
        told = {"port": assignment.options.port, "model": assignment.model.path.name}
        (folder / "toy.json").write_text(json.dumps(told))

    def command(self, python: Path, folder: Path, assignment: Assignment) -> Command:  # noqa: ARG002
        return Command((str(python), "-c", SERVER, str(folder)), environ={}, ping_path="/well")


if __name__ == "__main__":
    ENGINES["mlserver"] = Toy  # the flag that there is: --enable-mlserver
    main(sys.argv[1:], prog_name="launcher")
