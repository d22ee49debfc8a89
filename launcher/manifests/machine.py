"""For one machine: a compose file, a systemd unit."""

from __future__ import annotations

import configparser
import io
import shlex
import shutil
import sys
from pathlib import Path

from launcher.images.dockerfile import CACHE, PORT
from launcher.manifests.service import (
    GRACEFUL,
    REST,
    TLS_FOLDER,
    TOKEN_FOLDER,
    Document,
    Service,
)


def compose(service: Service) -> list[Document]:
    """A file for ``docker compose``: https://github.com/compose-spec/compose-spec.

    Secrets are files beside it, of the secret's name.
    """
    secrets: list[Document] = []
    files: Document = {}
    if service.token_secret is not None:
        secrets.append({"source": "token", "target": f"{TOKEN_FOLDER}/token"})
        files["token"] = {"file": f"./{service.token_secret}"}
    if service.tls_secret is not None:
        for ending in ("crt", "key"):
            name = f"tls_{ending}"
            secrets.append({"source": name, "target": f"{TLS_FOLDER}/tls.{ending}"})
            files[name] = {"file": f"./{service.tls_secret}.{ending}"}
    container: Document = {
        "image": service.image,
        "command": ["serve"],
        "init": False,  # the image has its own
        "restart": "unless-stopped",
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "environment": service.environ,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": f"{GRACEFUL + REST}s",
        "deploy": {"resources": {"limits": {"cpus": _cpus(service), "memory": _memory(service)}}},
        **({"secrets": secrets} if secrets else {}),
    }
    document: Document = {"name": service.name, "services": {"model": container}}
    if service.builds_environment:
        container["volumes"] = [f"cache:{CACHE}"]
        document["volumes"] = {"cache": {}}
    if files:
        document["secrets"] = files
    return [document]


def _cpus(service: Service) -> str:
    if service.cpu.endswith("m"):
        return f"{int(service.cpu[:-1]) / 1000:g}"
    return service.cpu


def _memory(service: Service) -> str:
    """Kubernetes' 1Gi is 1g here, and 1G is as good as 1g."""
    return service.memory.rstrip("i").lower()


def systemd_unit(service: Service) -> str:
    """A unit, see systemd.service(5): of the launcher itself, or of podman for an image."""
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keeps capital letters
    unit["Unit"] = {
        "Description": f"The model {service.name}",
        "After": "network-online.target",
        "Wants": "network-online.target",
    }
    unit["Service"] = {
        **(_in_container(service) if service.image else _launcher(service)),
        # The first start may build an environment, or fetch an image.
        "TimeoutStartSec": "infinity",
        "TimeoutStopSec": str(GRACEFUL + REST),
        "Restart": "on-failure",
        # Bad usage, an environment that cannot be built: trying again does not help.
        "RestartPreventExitStatus": "2 3",
    }
    unit["Install"] = {"WantedBy": "multi-user.target"}
    text = io.StringIO()
    unit.write(text, space_around_delimiters=False)
    return text.getvalue().rstrip() + "\n"


def _launcher(service: Service) -> dict[str, str]:
    launcher = shutil.which("launcher", path=Path(sys.executable).parent) or "/usr/bin/launcher"
    command = [launcher, "serve", "-m", service.model_uri or "", "-p", str(PORT)]
    command += ["--name", service.name, "--log-format", "json", "--workers", "auto"]
    if service.token_secret is not None:
        command += ["--token-file", f"{TOKEN_FOLDER}/{service.token_secret}"]
    if service.tls_secret is not None:
        folder = f"{TLS_FOLDER}/{service.tls_secret}"
        command += ["--tls-cert", f"{folder}.crt", "--tls-key", f"{folder}.key"]
    return {
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecStart": _command(command),
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "Environment": f"LAUNCHER_HOME=/var/lib/{service.name}",
        "StateDirectory": service.name,
        "DynamicUser": "yes",
        "WatchdogSec": "60",
        "KillMode": "mixed",
    }


def _in_container(service: Service) -> dict[str, str]:
    podman = shutil.which("podman") or "/usr/bin/podman"
    command = [podman, "run", "--rm", "--replace", "--name", service.name, "--read-only"]
    command += ["--cap-drop", "ALL", "--publish", f"127.0.0.1:{PORT}:{PORT}"]
    command += ["--cpus", _cpus(service), "--memory", _memory(service)]
    for name, value in service.environ.items():
        command += ["--env", f"{name}={value}"]
    if service.builds_environment:
        command += ["--volume", f"{service.name}-cache:{CACHE}"]
    for folder, secret, keys in (
        (TOKEN_FOLDER, service.token_secret, {"token": ""}),
        (TLS_FOLDER, service.tls_secret, {"tls.crt": ".crt", "tls.key": ".key"}),
    ):
        for key, ending in keys.items() if secret is not None else ():
            command += ["--secret", f"{secret}{ending},target={folder}/{key}"]
    stop = [podman, "stop", "--time", str(GRACEFUL), service.name]
    return {
        "Type": "exec",
        "ExecStart": _command([*command, service.image, "serve"]),
        "ExecStop": _command(stop),
    }


def _command(words: list[str]) -> str:
    """A command line as systemd reads it: no variables, no specifiers."""
    return shlex.join(words).replace("%", "%%").replace("$", "$$")
