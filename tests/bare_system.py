"""A Debian with its own Python, 3.11, and little else: images and other rooms are made from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

SUITE = "bookworm"
# What a copied Python of another version needs comes with it.
PACKAGES = (
    "python3", "python3-pip", "python3-venv", "curl", "ca-certificates", "libssl3", "libffi8",
    "libsqlite3-0", "libbz2-1.0", "liblzma5", "zlib1g", "libgomp1",
)  # fmt: skip


def bare_system(kept: Path, work: Path) -> Path:
    """Make the archive of such a system, or take the one that is there. Needs root and debootstrap.

    :param kept: a folder for it, so that it is made once for all who need it.
    :param work: an empty folder on a disk that can hold it, which is used and removed.
    :returns: the archive's path.
    """
    files = kept / "image-base.tar"
    with FileLock(f"{files}.lock"):
        if not files.exists():
            include = f"--include={','.join(PACKAGES)}"
            command = ["debootstrap", "--variant=minbase", include, SUITE, str(work)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            for cache in ("var/cache/apt", "var/lib/apt/lists"):
                shutil.rmtree(work / cache)
            subprocess.run(["tar", "-C", work, "-cf", f"{files}.part", "."], check=True)
            shutil.rmtree(work)
            Path(f"{files}.part").rename(files)
    return files
