"""Which requirement of a model keeps an added one out, found out before anything is built."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from envs.building.context import Context, Report, ignore
from envs.building.interpreters import find_interpreter
from envs.pip.lockfiles import read_lockfile
from envs.pip.requirements_file import flatten
from envs.pip.resolution import objection
from envs.pip.uv import reason, uv_error
from envs.pip.wanted import join
from envs.preparing import context_for
from envs.spec import EnvSpec, requirement_name
from envs.store.store import EnvStore


@dataclass(frozen=True)
class Exclusion:
    """Two requirements that no environment can have.

    :param line: the spec's, or None where no single one is to blame.
    :param added: the added one.
    :param reason: the resolver's, one line.
    """

    line: str | None
    added: str
    reason: str


def find_exclusion(
    spec: EnvSpec,
    *,
    store: EnvStore | None = None,
    report: Report = ignore,
    offline: bool | None = None,
    wheelhouse: Path | None = None,
) -> Exclusion | None:
    """Return what of a spec's requirements excludes its server requirements, None for nothing.

    :param spec: its requirements count, of a lockfile the pins, and no conda packages.
    :raises EnvError: that cannot be known: no index answers, its own cannot be resolved either, a
        file is missing, or none that may be read.
    """
    context = context_for(store or EnvStore(), report, offline=offline, wheelhouse=wheelhouse)
    joined = join(spec, spec.server_requirements)
    context.log.secrets.update(joined.wanted.secrets)
    minor = re.search(r"\d+\.\d+", spec.python or "")
    own = flatten(spec.requirements, spec.base_dir).lines
    added = tuple(line for line in joined.wanted.lines if line not in own)
    if spec.lockfile is not None:
        pins = _pins(spec, spec.lockfile, context)
        own = tuple(f"{name}=={version}" for name, version in pins.items() if version is not None)
        added = tuple(line for line in added if requirement_name(line) not in pins)
    request = replace(
        joined.request(sys.executable),
        lines=(*own, *added),
        version=minor[0] if minor else None,
    )
    text = objection(request, context)
    if text is None:
        return None
    alone = objection(replace(request, lines=own), context) if own else None
    if alone is not None:
        raise uv_error(alone, context, "What it asks for cannot be resolved by itself")
    words = set(re.findall(r"[a-z0-9][a-z0-9._-]*", text.lower()))
    for line in (each for each in own if requirement_name(each) in words):
        for each in added:
            against = objection(replace(request, lines=(line, each)), context)
            if against is not None:
                return Exclusion(context.log.mask(line), each, context.log.mask(reason(against)))
    return Exclusion(None, added[0], context.log.mask(reason(text)))


def _pins(spec: EnvSpec, lockfile: Path, context: Context) -> dict[str, str | None]:
    return read_lockfile(lockfile, find_interpreter(spec.python, context), context).pins
