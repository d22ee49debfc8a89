"""How a running server is known to others: console, ready file, control socket, systemd."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envs.disk.files import write_json
from launcher.console import Console
from launcher.engines.deployment import ModelDeployment, describe_environment
from launcher.instances.control import Client, ControlServer
from launcher.instances.registry import INSTANCE_FILE, Instance
from launcher.instances.systemd import Notifier
from launcher.supervision.deployment import Deployment, Observer
from launcher.supervision.log import ServerLog, name_latest
from launcher.supervision.served_model import ServedModel
from launcher.supervision.server import Loop
from scoring_server.events import Event, Loaded, NotForkable, Summary


class Presence(Observer):
    """Tells the world about one supervised server, and takes the world's requests.

    :param folder: the launcher's run folder.
    :param ready_file: written at readiness, removed at the end; or None.
    :param curl_options: what ``curl`` needs to get in.
    :param on_ready: called at the first readiness, for a launcher that was told to detach.
    :param token_file: where clients of this machine find the token, or None.
    :param tls_cert: the certificate by which they know the server, or None.
    :param socket_path: the unix socket that is served on, or None.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        model_uri: str,
        folder: Path,
        ready_file: Path | None,
        log: ServerLog,
        console: Console,
        curl_options: str,
        on_ready: Callable[[], None],
        socket_path: Path | None = None,
        token_file: Path | None = None,
        tls_cert: Path | None = None,
    ) -> None:
        self._name = name
        self._url = url
        self._model_uri = model_uri
        self._folder = folder
        self._ready_file = ready_file
        self._log = log
        self._console = console
        self._curl_options = curl_options
        self._on_ready = on_ready
        self._socket_path = socket_path
        self._token_file = token_file
        self._tls_cert = tls_cert
        self._systemd = Notifier()
        self._summary = Summary(requests=0, workers=[], queue=0)
        self._answered_before = 0
        self._reload_waits: list[Client] = []
        self._followers: list[Client] = []
        self._served: ServedModel | None = None
        self._control: ControlServer | None = None
        self._was_ready = False
        self._is_told_of_requests = True

    def attach(self, loop: Loop, served: ServedModel, deployment: ModelDeployment) -> None:
        """Answer control requests for ``served``, and be found by ``launcher ps``."""
        self._served = served
        self._is_told_of_requests = deployment.command.descriptors is not None
        self._control = ControlServer(self._folder, loop.selector, self._handle)
        self._log.on_write = self._wake_followers
        # Not yet: what these take is imported while the server starts.
        loop.post(lambda: self._console.under_way("loading the model"))
        loop.post(lambda: self._write_instance(deployment))

    def detach(self) -> None:
        """Be gone: once this has returned, the name may be another's."""
        if self._control is not None:
            with self._best_effort(self._control.path):
                self._control.close()
        for path in (self._folder / INSTANCE_FILE, self._ready_file):
            if path is not None:
                with self._best_effort(path):
                    path.unlink(missing_ok=True)

    def _write_instance(self, deployment: ModelDeployment) -> None:
        assert self._control is not None
        import psutil

        described = describe_environment(deployment.environment)
        instance = Instance(
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            name=self._name,
            url=self._url,
            model_uri=self._model_uri,
            model=deployment.identity.title_of(deployment.model),
            environment=described["key"],
            env_manager=described["env_manager"],
            as_of=described["as_of"],
            log=str(self._log.path),
            control=str(self._control.path),
            token_file=None if self._token_file is None else str(self._token_file),
            tls_cert=None if self._tls_cert is None else str(self._tls_cert),
        )
        with self._best_effort(self._folder):
            instance.write(self._folder)
        with self._best_effort(self._log.path.parent):
            name_latest(self._log.path, self._name)

    @contextmanager
    def _best_effort(self, path: Path) -> Iterator[None]:
        """What others know of a service is no reason to end it."""
        try:
            yield
        except OSError as error:
            self._console.warn(f"{path} cannot be written or removed: {error.strerror}")

    def report(self, text: str) -> None:
        """Say what happens, on the console and to those who follow the log."""
        self._console.step(text)
        self._wake_followers()

    # --- what the supervisor tells ---------------------------------------------------------------

    def event(self, event: Event) -> None:
        if isinstance(event, Loaded):
            self._console.step(f"model loaded in {event.seconds:.2f} s")
        elif isinstance(event, NotForkable):
            reasons = ", ".join(event.reasons)
            self._console.step(
                f"the loaded model does not survive a fork ({reasons}): each worker loads its own"
            )
        elif isinstance(event, Summary):
            if event.requests < self._summary.requests:
                self._answered_before += self._summary.requests
            self._summary = event

    def ready(self, deployment: Deployment) -> None:
        assert isinstance(deployment, ModelDeployment)
        if self._ready_file is not None:
            described = describe_environment(deployment.environment)
            content = {
                "pid": os.getpid(),
                "url": self._url,
                "environment": described["key"],
                "env_manager": described["env_manager"],
                "as_of": described["as_of"],
            }
            with self._best_effort(self._ready_file):
                write_json(self._ready_file, content)
        self._write_instance(deployment)
        self._systemd.ready(f"serving {self._name} at {self._url}")
        if self._was_ready:
            self._console.ready(self._url)
            return
        self._was_ready = True
        self._console.ready(
            self._url, self._facts(deployment), f"Ctrl-C, or: launcher stop {self._name}"
        )
        self._on_ready()

    def _facts(self, deployment: ModelDeployment) -> list[tuple[str, str]]:
        from launcher.model.example import curl_line

        facts = []
        line = curl_line(deployment.model, self._url)
        if line is not None:
            facts.append(("try", line.replace("curl ", "curl " + self._curl_options, 1)))
        if deployment.has_page and self._socket_path is None:
            facts.append(("page", f"{self._url}/"))
        facts.append(("model", deployment.identity.title_of(deployment.model)))
        return [*facts, ("name", self._name), ("log", str(self._log.path))]

    def alive(self) -> None:
        self._systemd.alive()
        self._console.flush()

    def reloading(self) -> None:
        self._systemd.reloading()

    def reloaded(self, failure: str | None) -> None:
        if failure is not None:
            self._systemd.ready(f"serving {self._name} at {self._url}; not reloaded: {failure}")
        for client in self._reload_waits:
            client.answer({"reloaded": failure is None, "failure": failure})
        self._reload_waits.clear()

    def stopping(self) -> None:
        self._systemd.stopping()
        if self._socket_path is not None:
            # It would go on taking connections. Who comes now is refused at once.
            with self._best_effort(self._socket_path):
                self._socket_path.unlink(missing_ok=True)

    # --- what others ask -------------------------------------------------------------------------

    def _handle(self, client: Client, request: dict[str, Any]) -> None:
        assert self._served is not None
        what = request.get("command")
        if what == "status":
            client.answer(self._status())
        elif what == "reload":
            self._reload_waits.append(client)
            self._served.reload()
        elif what == "stop":
            self._served.stop(signal.SIGTERM)
            client.answer({})
        elif what == "follow":
            self._followers.append(client)
            client.nudge()
        else:
            client.answer({"failure": f"unknown command {what!r}"})

    def _status(self) -> dict[str, Any]:
        assert self._served is not None
        requests = self._answered_before + self._summary.requests
        return {
            "state": self._served.state,
            "requests": requests if self._is_told_of_requests else None,
            "workers": len(self._summary.workers) or None,
            "restarts": self._served.restarts,
            "reloads": self._served.reloads,
        }

    def _wake_followers(self) -> None:
        for client in self._followers:
            client.nudge()
        self._followers = [client for client in self._followers if client.is_open]
