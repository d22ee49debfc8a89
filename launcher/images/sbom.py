"""A software bill of materials: https://cyclonedx.org/specification/overview/."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from envs.extras import how_to_install
from launcher.errors import UsageError

_NO_TIME = datetime.fromtimestamp(0, timezone.utc)

if TYPE_CHECKING:
    from packaging.pylock import Package

    from launcher.images.locking import Lock
    from launcher.model.mlmodel import Model


def require_library() -> None:
    """See, before anything is resolved, that the library is there.

    :raises UsageError: it is not.
    """
    try:
        import cyclonedx  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"The bill of materials needs a library that is not installed here ({error.name}).",
            f"{how_to_install('images')}, or leave it out with --no-sbom.",
        ) from error


def sbom(model: Model, name: str, version: str | None, lock: Lock) -> str:
    """CycloneDX as JSON: the model, and the packages of its lock with their hashes.

    It says nothing of the time or the machine, so that the same lock and model give the same text.

    :param name: the model's name.
    :param version: its version in a registry, or None.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    identity = f"{name}:{version}:{model.uuid}:{lock.sha256}"
    root = Component(
        name=name,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
    )
    components = [
        Component(
            name=each.name,
            version=str(each.version) if each.version else None,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, each.name, str(each.version) if each.version else None),
            bom_ref=each.name,
            hashes=_hashes(each),
        )
        for each in lock.packages
    ]
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, identity),
        metadata=BomMetaData(component=root, timestamp=model.created or _NO_TIME),
        components=components,
    )
    bom.register_dependency(root, components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def _hashes(package: Package) -> list:  # type: ignore[type-arg]
    """The one hash of a package that can come from one file only; of others the lock has all."""
    from cyclonedx.model import HashAlgorithm, HashType

    wheels = package.wheels or ()
    found = wheels[0].hashes.get("sha256") if len(wheels) == 1 else None
    return [HashType(alg=HashAlgorithm.SHA_256, content=found)] if found else []
