"""Run a command that ends with the process that started it. A script, never imported.

Usage: ``PYTHON -I -S guard.py LIFELINE GRACE COMMAND...``. LIFELINE is the read end of a pipe
whose write end only the starter holds. When it closes, because the starter wants it or because
it is dead (SIGKILL included), the command's process group gets SIGTERM, and SIGKILL after GRACE
seconds: so the build backends that an installer starts go with it. A parent-death signal would
reach the direct child only, and fires when the *thread* that started it ends.

Exits with the command's code, 128 + N where signal N ended it. Imports little: it is started
for every command of a build.
"""

import contextlib
import os
import signal
import sys
import threading


def main(lifeline: int, grace: float, command: list[str]) -> int:
    os.set_inheritable(lifeline, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler is not inherited, "ignore" would be
    try:
        child = os.posix_spawn(
            command[0],
            command,
            os.environ,
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    ended = threading.Event()
    threading.Thread(target=end_with, args=(lifeline, child, grace, ended), daemon=True).start()
    _, status = os.waitpid(child, 0)
    ended.set()
    signal_group(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def end_with(lifeline: int, child: int, grace: float, ended: threading.Event) -> None:
    while os.read(lifeline, 1):
        pass
    signal_group(child, signal.SIGTERM)
    if not ended.wait(grace):
        signal_group(child, signal.SIGKILL)


def signal_group(group: int, number: int) -> None:
    # Nobody may be left in the group (macOS says "permission" for zombies).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    code = main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
    os._exit(code)
