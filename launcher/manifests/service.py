"""What is to run, whatever the platform; and what its container looks like to Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.images.dockerfile import CACHE, PORT

# A value as YAML has it.
Document = dict[str, Any]

# Where secrets are mounted.
TOKEN_FOLDER, TLS_FOLDER = "/etc/launcher/token", "/etc/launcher/tls"
# Seconds: until a load balancer has heard that a container stops, for requests in flight, and for
# the rest.
NOTICE, GRACEFUL, REST = 5, 30, 10
# Seconds that a container may take until its model is loaded; without one its environment is made.
START, START_WITH_BUILD = 600, 1800


@dataclass(frozen=True)
class Service:
    """A model's service.

    :param name: a DNS label; names everything that belongs to it.
    :param image: the image's name; empty where the platform has one.
    :param model_uri: where the model comes from, where the image has none.
    :param is_model_mounted: whether the platform mounts it, where the image has none.
    :param replicas: the least and the most containers.
    :param cpu: processors of each, "1" or "500m"; workers are counted by them.
    :param memory: of each, "1Gi".
    :param scale_by: ``cpu``, or ``queue``: requests that wait.
    :param token_secret: the secret whose key ``token`` clients must send, or None.
    :param tls_secret: the secret with ``tls.crt`` and ``tls.key``, or None.
    :param cache_claim: the volume claim that environments are kept in, or None.
    :param variables: of the container, by name.
    """

    name: str
    image: str = ""
    model_uri: str | None = None
    namespace: str | None = None
    replicas: tuple[int, int] = (2, 4)
    cpu: str = "1"
    memory: str = "1Gi"
    scale_by: str = "cpu"
    token_secret: str | None = None
    tls_secret: str | None = None
    cache_claim: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    is_model_mounted: bool = False

    @property
    def labels(self) -> dict[str, str]:
        """Kubernetes' recommended labels."""
        return {
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/component": "model-server",
            "app.kubernetes.io/managed-by": "mlmodel-launcher",
        }

    @property
    def selector(self) -> dict[str, str]:
        """What tells its containers from others'."""
        return {"app.kubernetes.io/name": self.name}

    @property
    def builds_environment(self) -> bool:
        """Whether the container makes the model's environment when it starts."""
        from_elsewhere = self.model_uri is not None or self.is_model_mounted
        return from_elsewhere or self.cache_claim is not None

    @property
    def environ(self) -> dict[str, str]:
        """Its variables."""
        given = {"LAUNCHER_SERVE_LOG_FORMAT": "json", **self.variables}
        if self.model_uri is not None:
            given["MODEL_URI"] = self.model_uri
        if self.token_secret is not None:
            given["LAUNCHER_SERVE_TOKEN_FILE"] = f"{TOKEN_FOLDER}/token"
        if self.tls_secret is not None:
            given["LAUNCHER_SERVE_TLS_CERT"] = f"{TLS_FOLDER}/tls.crt"
            given["LAUNCHER_SERVE_TLS_KEY"] = f"{TLS_FOLDER}/tls.key"
        return given

    def metadata(self) -> Document:
        """The metadata of an object of it."""
        placed = {"namespace": self.namespace} if self.namespace else {}
        return {"name": self.name, **placed, "labels": self.labels}


def dns_label(text: str) -> str:
    """A name as Kubernetes wants it (RFC 1123): small letters, digits, hyphens, at most 50."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-")
    return label if label and label[0].isalpha() else f"model-{label}".strip("-")


def container(service: Service, name: str = "model") -> Document:
    """The container as a pod has it: what a restricted namespace accepts, probes for each phase."""
    scheme = {"scheme": "HTTPS"} if service.tls_secret else {}
    ping = {"httpGet": {"path": "/ping", "port": "http", **scheme}, "timeoutSeconds": 2}
    start = START_WITH_BUILD if service.builds_environment else START
    resources = {"cpu": service.cpu, "memory": service.memory}
    return {
        "name": name,
        "image": service.image,
        "args": ["serve"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": [{"name": key, "value": value} for key, value in service.environ.items()],
        # Limits too: the number of workers goes by them.
        "resources": {"requests": resources, "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Until the model is loaded nothing listens.
        "startupProbe": {**ping, "periodSeconds": 2, "failureThreshold": start // 2},
        "readinessProbe": {**ping, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**ping, "timeoutSeconds": 5, "periodSeconds": 10, "failureThreshold": 3},
        # The service hears of the end at once, the load balancers a moment later.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(NOTICE)]}}},
        "volumeMounts": [
            {"name": each["name"], "mountPath": path, **read_only}
            for each, path, read_only in _mounts(service)
        ],
    }


def volumes(service: Service) -> list[Document]:
    """The volumes that the container mounts."""
    return [volume for volume, _, _ in _mounts(service)]


def _mounts(service: Service) -> list[tuple[Document, str, Document]]:
    mounts: list[tuple[Document, str, Document]] = [({"name": "tmp", "emptyDir": {}}, "/tmp", {})]
    if service.cache_claim is not None:
        claim = {"persistentVolumeClaim": {"claimName": service.cache_claim}}
        mounts.append(({"name": "cache", **claim}, CACHE, {}))
    elif service.builds_environment:
        mounts.append(({"name": "cache", "emptyDir": {}}, CACHE, {}))
    for name, secret, folder in (
        ("token", service.token_secret, TOKEN_FOLDER),
        ("tls", service.tls_secret, TLS_FOLDER),
    ):
        if secret is not None:
            # Any user may run the container.
            source = {"secret": {"secretName": secret, "defaultMode": 0o444}}
            mounts.append(({"name": name, **source}, folder, {"readOnly": True}))
    return mounts
