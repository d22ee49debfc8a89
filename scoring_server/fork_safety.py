"""Can a loaded model live on in a fork of this process?"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import List

# Accelerators whose driver does not survive a fork keep one of these open.
_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/accel", "/dev/davinci")


def fork_hazards() -> List[str]:
    """What the loaded model has that a fork would lose or break; empty where nothing was found.

    Threads are lost in a fork, with whatever locks they hold. Threads that libraries start below
    Python (OpenMP, OpenBLAS) cannot be told from harmless ones and are not looked at.
    """
    this = threading.current_thread()
    hazards = [
        "the thread {!r} runs".format(thread.name)
        for thread in threading.enumerate()
        if thread is not this
    ]
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        hazards.append("CUDA is initialised")
    else:
        hazards += ["{} is open".format(device) for device in _open_devices()]
    return hazards


def _open_devices() -> List[str]:
    found = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            # Path.readlink is younger than CPython 3.7.
            target = os.readlink(str(entry))  # noqa: PTH115
        except FileNotFoundError:
            # The descriptor with which the folder itself was read.
            continue
        if target.startswith(_DEVICES):
            found.add(target)
    return sorted(found)


def load_again_in_workers() -> None:
    """Start this process over, to load the model in each worker; does not return.

    Nothing less gives the memory and the threads of the loaded model back. The process stays the
    launcher's child, with its descriptors.
    """
    script = str(Path(__file__).resolve().parent / "__main__.py")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, script, *sys.argv[1:], "--load-in-workers"])
