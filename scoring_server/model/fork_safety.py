"""Whether a loaded model can live on in a fork of this process."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

# omp.h, OpenMP 5.0
_OMP_PAUSE, _OMP_PAUSE_HARD = "omp_pause_resource_all", 2
# PyTorch's name for the threads of `torch.jit.fork`; in a fork of the process it waits for them.
_TORCH_TASKS = "PTThreadPool"
# Accelerators whose driver does not survive a fork keep one of these open.
_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/accel", "/dev/davinci")


def fork_hazards() -> List[str]:
    """What the loaded model has that a fork would lose or break; empty where nothing was found.

    Threads are lost in a fork, with whatever locks they hold. Of the threads that libraries start
    below Python, those of GNU's OpenMP are ended here: it waits for them for ever in a fork. Others
    (OpenBLAS, LLVM's OpenMP) look after a fork themselves, or cannot be told from harmless ones.
    """
    this = threading.current_thread()
    hazards = [
        "the thread {!r} runs".format(thread.name)
        for thread in threading.enumerate()
        if thread is not this
    ]
    hazards += _openmp_hazards() + _onnx_hazards()
    torch = sys.modules.get("torch")
    if torch is not None and _TORCH_TASKS in _of_each_thread("comm"):
        hazards.append("threads of TorchScript run")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        hazards.append("CUDA is initialised")
    else:
        hazards += ["{} is open".format(device) for device in _open_devices()]
    return hazards


def _openmp_hazards() -> List[str]:
    """End the idle threads of GNU's OpenMP; the copies of it that have threads and cannot."""
    hazards = []
    for path, spans in _mappings("libgomp").items():
        pause = getattr(ctypes.CDLL(path), _OMP_PAUSE, None)
        # Since GCC 9. It gives back what this thread has started, to be started anew when needed.
        if pause is not None and pause(_OMP_PAUSE_HARD) == 0:
            continue
        if any(start <= place < end for place in _waiting_places() for start, end in spans):
            hazards.append("threads of {} run".format(Path(path).name))
    return hazards


def _onnx_hazards() -> List[str]:
    """ONNX Runtime's sessions that run the parts of a model side by side, on threads.

    In a fork they wait for those for ever. What only shares the work of one part out among threads
    does all of it itself then.
    """
    onnxruntime = sys.modules.get("onnxruntime")
    session = getattr(onnxruntime, "InferenceSession", None)
    if session is None:
        return []
    parallel = onnxruntime.ExecutionMode.ORT_PARALLEL  # type: ignore[union-attr]
    return [
        "an ONNX Runtime session with execution mode parallel has threads"
        for each in gc.get_objects()
        # Not isinstance: it would ask proxies for what they stand for.
        if issubclass(type(each), session) and each.get_session_options().execution_mode == parallel
    ]


def _mappings(name: str) -> Dict[str, List[Tuple[int, int]]]:
    """The address ranges of the shared libraries whose file name starts with `name`, by path."""
    found: Dict[str, List[Tuple[int, int]]] = {}
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        fields = line.split(None, 5)
        if len(fields) == 6 and Path(fields[5]).name.startswith(name):
            start, _, end = fields[0].partition("-")
            found.setdefault(fields[5], []).append((int(start, 16), int(end, 16)))
    return found


def _waiting_places() -> List[int]:
    """Where in the program each thread waits in the kernel; see proc(5), /proc/pid/syscall.

    GNU's OpenMP makes its system calls itself, so that the place tells its threads from others.
    """
    calls = [text.split() for text in _of_each_thread("syscall")]
    return [int(fields[-1], 16) for fields in calls if len(fields) > 1]


def _of_each_thread(name: str) -> Iterator[str]:
    """What the system has in the file `name` of each thread of this process."""
    folder = Path("/proc/self/task")
    for task in folder.iterdir() if folder.is_dir() else ():
        try:
            yield (task / name).read_text().strip()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue


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


def load_again_in_workers(descriptors: Sequence[int]) -> None:
    """Start this process over, to load the model in each worker; does not return.

    Nothing less gives the memory and the threads of the loaded model back. The process stays the
    launcher's child.

    :param descriptors: those that the launcher has handed down, for the process to have again.
    """
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    script = str(Path(__file__).resolve().parents[1] / "__main__.py")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, script, *sys.argv[1:], "--load-in-workers"])
