"""py-rattler: where it is, and how it is asked (in a process of its own, see `worker`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.building.context import Context
from envs.disk.files import read_json
from envs.errors import EnvError
from envs.extras import how_to_install
from envs.managers.conda.channels import Channel

WORKER = Path(__file__).with_name("worker.py")
MISSING = "--env-manager conda needs the package py-rattler, which is not installed."


def rattler_folder() -> Path:
    """Return the folder that py-rattler is installed in, without importing it.

    :raises EnvError: it is not installed.
    """
    import importlib.util

    found = importlib.util.find_spec("rattler")
    if found is None or found.origin is None:
        raise EnvError(MISSING, hint=how_to_install("conda"))
    return Path(found.origin).parents[1]


def call_rattler(
    request: Mapping[str, Any],
    context: Context,
    channels: Sequence[Channel] = (),
    lockfile: Path | None = None,
) -> dict[str, Any]:
    """Return what py-rattler made of a request (see `worker`).

    :param channels: those of the request, for messages; ``lockfile`` likewise.
    :raises EnvError: it failed.
    """
    from envs.building.process import run
    from envs.managers.conda.failures import Failure
    from envs.pip.uv import work_folder, write_private

    folder_of_rattler = rattler_folder()
    with work_folder(context) as folder:
        source, target = folder / "request.json", folder / "result.json"
        write_private(source, [json.dumps({**request, "rattler": str(folder_of_rattler)})])

        def on_line(line: str) -> None:
            if line.startswith("> "):
                context.report(line[2:])

        completed = run(
            [sys.executable, "-I", WORKER, str(source), str(target)],
            log=context.log,
            on_line=on_line,
        )
        result = read_json(target)
    if completed.returncode != 0:
        context.log.write(f"py-rattler ended with exit code {completed.returncode}")
    if not result:
        result = {"error": {"kind": "Ended", "message": completed.text or "it said nothing"}}
    if "error" in result:
        failure = Failure(result["error"]["kind"], result["error"]["message"])
        raise failure.error(context, channels, lockfile)
    return result
