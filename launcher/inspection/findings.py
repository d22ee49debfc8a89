"""What was found out, a line each, by probes that cannot hold anybody up."""

from __future__ import annotations

import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

OK, WARNING, MISSING = "ok", "warning", "missing"
SECONDS = 10.0


class Finding(NamedTuple):
    """One line of a report.

    :param name: what was looked at.
    :param state: OK, WARNING or MISSING.
    :param text: what was found.
    :param purpose: what it is for.
    :param hint: how to get it, or to mend it; None where nothing is to be done.
    :param needed: whether nothing works without it.
    """

    name: str
    state: str
    text: str
    purpose: str = ""
    hint: str | None = None
    needed: bool = False

    @property
    def is_failure(self) -> bool:
        """Whether something is missing that is needed."""
        return self.state == MISSING and self.needed

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return self._asdict()


class Probe(NamedTuple):
    """Something to find out: its name, what it is for, and who does it."""

    name: str
    purpose: str
    look: Callable[[], Finding | Sequence[Finding]]


def run_probes(probes: Sequence[Probe], seconds: float = SECONDS) -> list[Finding]:
    """Run probes side by side; what each found, in their order.

    A probe that fails, or has not ended in time, is a warning that says so.

    :param seconds: for all of them.
    """
    # It fills itself at its first use, and what another thread reads meanwhile is half of it: uv is
    # found by it.
    sysconfig.get_config_vars()
    found: dict[str, list[Finding]] = {}

    def look(probe: Probe) -> None:
        try:
            told = probe.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            told = Finding(probe.name, WARNING, f"could not be found out: {reason}", probe.purpose)
        found[probe.name] = [told] if isinstance(told, Finding) else list(told)

    threads = [threading.Thread(target=look, args=(each,), daemon=True) for each in probes]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    listed: list[Finding] = []
    for probe in probes:
        late = Finding(probe.name, WARNING, f"no answer within {seconds:g} s", probe.purpose)
        listed += found.get(probe.name, [late])
    return listed
