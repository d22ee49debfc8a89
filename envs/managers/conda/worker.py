"""py-rattler in a process of its own. A script, never imported.

Usage: ``PYTHON -I worker.py REQUEST.json RESULT.json``. Standard output is for the build
log; lines that begin with ``> `` are progress for the user.

Why a process: py-rattler can crash in the interpreter's shutdown, after all its work was done.
Here the result is on disk before the process ends, and it ends without a shutdown (`os._exit`).
Killed at any moment, it takes nothing of the launcher with it.

Request, for every action: ``action`` ("detect", "solve", "install"), ``rattler`` (the folder
that py-rattler is in). For the others but "detect": ``channels`` (URLs without credentials, in
order), ``access`` (what reaches them, see `make_client`), ``subdir``, ``cache``, ``offline``,
``timeout`` (seconds for one request). The result is the action's, or ``{"error": {"kind",
"message"}}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
import warnings
from base64 import b64encode
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RETRIES = 3
OFFLINE = "launcher-offline"


def main(request_path: str, result_path: str) -> None:
    request = json.loads(Path(request_path).read_bytes())
    sys.path.append(request["rattler"])
    warnings.simplefilter("ignore")  # of channels about their metadata
    action = {"detect": detect, "solve": solve, "install": install}[request["action"]]
    try:
        result = asyncio.run(action(request))
    except Exception as error:  # noqa: BLE001 - handed over, with its class, to whoever asked
        traceback.print_exc(file=sys.stdout)
        result = {"error": {"kind": type(error).__name__, "message": str(error)}}
    temporary = f"{result_path}.part"
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, result_path)  # noqa: PTH105
    sys.stdout.flush()


def say(text: str) -> None:
    print(f"> {text}", flush=True)


async def detect(_request: dict[str, Any]) -> dict[str, Any]:
    """Return this machine's ``subdir`` and ``virtual_packages``: [[name, version, build], ...]."""
    from rattler import Subdir, VirtualPackage, VirtualPackageOverrides

    found = [v.into_generic() for v in VirtualPackage.detect(VirtualPackageOverrides.from_env())]
    rows = [[v.name.source, str(v.version), str(v.build_string)] for v in found]
    return {"subdir": str(Subdir.current()), "virtual_packages": sorted(rows)}


def make_client(request: dict[str, Any]) -> Any:
    """Return the HTTP client for index and packages alike, with retries and a time limit.

    URLs given to py-rattler end up in its records, in ``conda-meta`` and in its messages, so
    credentials never are in them. ``access`` has rows ``{"url", "token_url", "user",
    "password"}``: requests below ``url`` go to ``token_url`` (a path with ``/t/TOKEN/``), or
    carry a header with user name and password.
    """
    from rattler.networking import Client
    from rattler.networking.middleware import (
        AddHeadersMiddleware,
        AuthenticationMiddleware,
        GCSMiddleware,
        MirrorMiddleware,
        OciMiddleware,
        RetryMiddleware,
        S3Middleware,
    )

    access = request["access"]

    def headers(host: str, path: str) -> dict[str, str] | None:
        if request["offline"]:
            raise ConnectionError(OFFLINE)
        for row in access:
            parts = urlsplit(row["token_url"] or row["url"])
            if row["user"] and parts.hostname == host and path.startswith(parts.path):
                pair = f"{row['user']}:{row['password']}".encode()
                return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return None

    tokens = {row["url"] + "/": [row["token_url"] + "/"] for row in access if row["token_url"]}
    middlewares: list[Any] = [] if request["offline"] else [RetryMiddleware(RETRIES)]
    middlewares += [MirrorMiddleware(tokens)] if tokens else []
    if any(row["user"] for row in access) or request["offline"]:
        middlewares.append(AddHeadersMiddleware(headers))
    middlewares += [AuthenticationMiddleware(), OciMiddleware(), GCSMiddleware(), S3Middleware()]
    return Client(middlewares, timeout=request["timeout"])


class BadSpec(ValueError):
    """A requirement that is no match spec."""


class LockMismatch(ValueError):
    """A lockfile that does not fulfil the requirements."""


def match_spec(text: str) -> Any:
    """Return a match spec, read as conda reads it: ``python=3.11.*`` is one."""
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    try:
        return MatchSpec(text, strict=False)
    except InvalidMatchSpecError as error:
        raise BadSpec(f"the requirement {text!r} cannot be read: {error}") from error


async def solve(request: dict[str, Any]) -> dict[str, Any]:
    """Return records for ``specs``: those of the first of ``attempts`` that has a solution.

    An attempt is ``{"bound": milliseconds or null, "strict": bool, "constrained": bool}``: the
    newest build that counts, whether a channel hides the ones after it, whether ``constraints``
    (specs for what might get installed) hold. ``instead`` maps specs to wider ones for the case
    that no channel has any package for them. ``virtual_packages`` are those of "detect".

    Result: ``records``, ``attempt`` (its number), ``replaced`` (the specs of ``instead``),
    ``why`` (what is known of why there is no solution with the bound).
    """
    from rattler import Channel, Gateway, SourceConfig
    from rattler.exceptions import SolverError

    say("reading the channels")
    action = "force-cache-only" if request["offline"] else "cache-or-fetch"
    remote = SourceConfig(cache_action=action)  # type: ignore[arg-type]
    local = {url: SourceConfig() for url in request["channels"] if url.startswith("file:")}
    gateway = Gateway(
        cache_dir=Path(request["cache"]) / "repodata",
        default_config=remote,
        per_channel_config=local,
        client=make_client(request),
    )
    channels = [Channel(url) for url in request["channels"]]
    specs, replaced = await widened(request, gateway, channels)
    why = None
    failures = []
    for number, attempt in enumerate(request["attempts"]):
        try:
            records = await solved(request, attempt, specs, gateway, channels)
        except SolverError as error:
            print(f"attempt {attempt}: {error}")
            failures.append(str(error))
            if attempt["bound"] is not None and why is None:
                why = await explained(request, attempt["bound"], specs, gateway, channels)
            continue
        rows = [to_row(record) for record in records]
        return {"records": rows, "attempt": number, "replaced": replaced, "why": why}
    return {"error": {"kind": "SolverError", "message": failures[-1]}}


async def solved(
    request: dict[str, Any], attempt: dict[str, Any], specs: list[str], gateway: Any, channels: Any
) -> list[Any]:
    import rattler
    from rattler import ChannelPriority, GenericVirtualPackage, PackageName, Version
    from rattler.package import BuildString

    bound = attempt["bound"]
    constraints = request["constraints"] if attempt["constrained"] else []
    return await rattler.solve(
        channels,
        [match_spec(text) for text in specs],
        gateway=gateway,
        platforms=[request["subdir"], "noarch"],
        virtual_packages=[
            GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
            for name, version, build in request["virtual_packages"]
        ],
        channel_priority=ChannelPriority.Strict if attempt["strict"] else ChannelPriority.Disabled,
        exclude_newer=datetime.fromtimestamp(bound / 1000, timezone.utc) if bound else None,
        constraints=[match_spec(text) for text in constraints],
    )


async def matching(request: dict[str, Any], text: str, gateway: Any, channels: Any) -> list[Any]:
    """Return the records of the channels that a spec matches, without what they depend on."""
    found = await gateway.query(
        channels, [request["subdir"], "noarch"], [match_spec(text)], recursive=False
    )
    spec = match_spec(text)
    return [record for group in found for record in group if record.matches(spec)]


async def widened(
    request: dict[str, Any], gateway: Any, channels: Any
) -> tuple[list[str], list[str]]:
    """Return the specs, the wider one in place of one that nothing matches; and those."""
    specs, replaced = [], []
    for text in request["specs"]:
        wider = request["instead"].get(text)
        if wider is not None and not await matching(request, text, gateway, channels):
            replaced.append(text)
            text = wider
        specs.append(text)
    return specs, replaced


async def explained(
    request: dict[str, Any], bound: int, specs: list[str], gateway: Any, channels: Any
) -> dict[str, Any] | None:
    """Return the spec that has no package as of the bound, and the first one after it."""
    for text in specs:
        records = await matching(request, text, gateway, channels)
        if not records:
            return None  # the bound is not to blame
        dated = [(day, record) for record in records if (day := built_at(record)) is not None]
        if not dated:
            return {"name": records[0].name.source, "version": None, "day": None}
        first, record = min(dated, key=lambda pair: pair[0])
        if first > bound:
            date = datetime.fromtimestamp(first / 1000, timezone.utc).date().isoformat()
            return {"name": record.name.source, "version": str(record.version), "day": date}
    return None


def built_at(record: Any) -> int | None:
    """Return when a package was indexed, else built, in milliseconds; None where it is unknown."""
    moment = record.indexed_timestamp or record.timestamp
    return int(moment.timestamp() * 1000) if moment is not None else None


async def install(request: dict[str, Any]) -> dict[str, Any]:
    """Fetch ``records`` (rows of "solve") and link them into ``prefix``; ``specs`` were asked for.

    With ``check`` the records must fulfil the specs (or those of ``instead``).
    """
    import rattler

    records = [from_row(row) for row in request["records"]]
    if request["check"]:
        check(records, request["specs"], request["instead"])
    total = len(request["records"])
    say(f"installing {total} conda package{'s' if total != 1 else ''}")
    await rattler.install(
        records,
        target_prefix=request["prefix"],
        cache_dir=Path(request["cache"]) / "pkgs",
        client=make_client(request),
        platform=rattler.Subdir(request["subdir"]),
        show_progress=False,
        reporter=Progress(),
        # The inner objects: this one parameter of py-rattler takes no wrapped ones.
        requested_specs=[match_spec(text)._match_spec for text in request["specs"]],
    )
    return {"installed": total}


def check(records: list[Any], specs: list[str], instead: dict[str, str]) -> None:
    """Raise LockMismatch for the first spec that the records do not fulfil."""
    by_name = {record.name.normalized: record for record in records}
    for text in specs:
        spec = match_spec(text)
        record = by_name.get(spec.name.normalized)
        if record is None:
            raise LockMismatch(f"lacks {text}, which conda.yaml asks for")
        wider = instead.get(text)
        if not record.matches(spec) and not (wider and record.matches(match_spec(wider))):
            found = f"{record.name.source} {record.version}"
            raise LockMismatch(f"has {found}, but conda.yaml asks for {text}")


class Progress:
    """Says which packages are downloaded (an `InstallerReporter` of py-rattler)."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *_: 0
        raise AttributeError(name)

    def on_populate_cache_start(self, _operation: int, package_name: str) -> int:
        self.names.append(package_name)
        return len(self.names) - 1

    def on_download_start(self, cache_entry: int) -> int:
        say(f"downloading {self.names[cache_entry]}")
        return cache_entry


def to_row(record: Any) -> dict[str, Any]:
    """Return a record as JSON values."""
    return {
        "name": record.name.source,
        "version": str(record.version),
        "build": str(record.build),
        "build_number": record.build_number,
        "subdir": record.subdir,
        "noarch": "python"
        if record.noarch.python
        else "generic"
        if record.noarch.generic
        else None,
        "depends": list(record.depends),
        "constrains": list(record.constrains),
        "sha256": record.sha256.hex() if record.sha256 else None,
        "md5": record.md5.hex() if record.md5 else None,
        "size": record.size,
        "license": record.license,
        "python_site_packages_path": record.python_site_packages_path,
        "file_name": record.file_name,
        "url": record.url,
        "channel": record.channel,
    }


def from_row(row: dict[str, Any]) -> Any:
    """Return the record of a row."""
    from rattler import PackageRecord, RepoDataRecord
    from rattler.package import BuildString

    record = PackageRecord(
        row["name"],
        row["version"],
        BuildString(row["build"]),
        row["build_number"],
        row["subdir"],
        noarch=row["noarch"],
        depends=row["depends"],
        constrains=row["constrains"],
        sha256=bytes.fromhex(row["sha256"]) if row["sha256"] else None,
        md5=bytes.fromhex(row["md5"]) if row["md5"] else None,
        size=row["size"],
        license=row["license"],
        python_site_packages_path=row["python_site_packages_path"],
    )
    return RepoDataRecord(record, row["file_name"], row["url"], row["channel"])


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except BaseException:  # noqa: BLE001 - its end must not run the interpreter's shutdown either
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(1)
    os._exit(0)
