"""The scoring server's configuration file: everything it has to know, as JSON."""

from __future__ import annotations

from typing import Any

from launcher.engines.engine import Identity
from launcher.model.mlmodel import Model

CONFIG_VERSION = 1


def server_config(
    model: Model,
    *,
    uri: str,
    identity: Identity | None = None,
    environment: dict[str, Any],
    server: dict[str, Any],
    settings_from_environment: bool = False,
) -> dict[str, Any]:
    """Put the configuration together, as JSON values.

    :param uri: the model URI as given, without credentials.
    :param identity: what protocols call it.
    :param environment: ``env_manager``, ``as_of``, ``key`` and ``python`` of the environment.
    :param server: the fields of ServerOptions, ``processors``, ``restarts`` and ``reloads``.
    :param settings_from_environment: whether environment variables change ``server``, in an image.
    """
    return {
        "config_version": CONFIG_VERSION,
        "model": {
            "path": str(model.path),
            "uri": uri,
            "name": model.name,
            **(identity or Identity())._asdict(),
            "uuid": model.uuid,
            "model_id": model.model_id,
            "run_id": model.run_id,
            "mlflow_version": model.mlflow_version,
            "utc_time_created": model.created and model.created.isoformat(),
            "flavor": model.flavor,
            "flavors": model.flavors,
            "signature": model.signature,
            "is_signature_from_type_hint": model.is_signature_from_type_hint,
            "type_hint_from_example": model.type_hint_from_example,
            "saved_input_example_info": model.example_info,
            "metadata": model.metadata,
        },
        "environment": environment,
        "server": server,
        "settings_from_environment": settings_from_environment,
    }
