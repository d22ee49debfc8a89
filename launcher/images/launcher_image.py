"""The image without a model: it finds one when it starts, and makes the environment then."""

from __future__ import annotations

import os
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING

from envs.pip.indexes import IndexSettings
from launcher.commands.environment import build_errors
from launcher.images.context import BuildContext
from launcher.images.credentials import netrc_for
from launcher.images.dockerfile import (
    ENVIRONMENT_FILES,
    INSTALLER,
    LAUNCHER_LOCK,
    SERVER_FILES,
    Recipe,
    launcher_dockerfile,
)
from launcher.images.locking import installer, pinned
from launcher.images.model_image import ImageOptions, launcher_version

if TYPE_CHECKING:
    from launcher.console import Console


def launcher_context(
    options: ImageOptions, extras: tuple[str, ...], console: Console, *, mlserver: bool = False
) -> BuildContext:
    """The context for an image without a model.

    Its Python is the one that runs this launcher: the packages are resolved for that.

    :param extras: of the launcher's own optional packages: "conda", "s3", "gcs", "azure",
        "sftp", "otel".
    :param mlserver: whether it serves with MLServer.
    :raises EnvironmentBuildError: they cannot be resolved.
    """
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    base = options.base_image or f"python:{python}-slim"
    indexes = IndexSettings().under(os.environ)
    offline = options.environment.build.offline
    with build_errors():
        uv = installer(indexes, console.under_way, offline=offline)
        packages = pinned(_requirements(extras), indexes, console.under_way, offline=offline)
    recipe = Recipe(
        f"Serves a model that it finds at its start. By mlmodel-launcher {launcher_version()}.",
        base,
        base,
        indexes=indexes,
        java=bool(options.install_java),
        variables={"LAUNCHER_SERVE_ENABLE_MLSERVER": "true"} if mlserver else {},
        labels={
            "org.opencontainers.image.title": "mlmodel-launcher",
            "org.opencontainers.image.version": launcher_version(),
        },
    )
    packages_of_ours = Path(__file__).resolve().parents[2]
    return BuildContext(
        launcher_dockerfile(recipe),
        {
            f"{ENVIRONMENT_FILES}/{INSTALLER}": uv,
            f"{ENVIRONMENT_FILES}/{LAUNCHER_LOCK}": packages,
        },
        {
            f"{SERVER_FILES}/{name}": packages_of_ours / name
            for name in ("launcher", "envs", "scoring_server")
        },
        base,
        netrc_for(indexes, ()),
    )


def _requirements(extras: tuple[str, ...]) -> tuple[str, ...]:
    """What the launcher needs."""
    from packaging.requirements import Requirement

    lines = []
    for text in requires("mlmodel-launcher") or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in ("", *extras)):
            requirement.marker = None
            lines.append(str(requirement))
    return tuple(dict.fromkeys(lines))
