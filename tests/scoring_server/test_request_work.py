"""No kind of request may take more work than was recorded: counts, which no busy machine changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scoring_server import request_work
from tests.scoring_server.request_work import RECORD, Work


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found = request_work.baseline()
    if found is None:
        pytest.skip(
            f"nothing is recorded for it: run on a Python of work_baseline.json, or {RECORD}"
        )
    return found


@pytest.fixture(scope="module")
def work(recorded: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    return request_work.measured(tmp_path_factory.mktemp("work"))


def test_the_servers_own_instructions(recorded: dict[str, Any], work: dict[str, Work]) -> None:
    found = {name: each.own for name, each in work.items()}
    assert found.keys() == recorded["own"].keys()
    more = request_work.grown(found, recorded["own"], "instructions of the server")
    assert not more, "\n".join(more)


def test_instructions_with_those_of_libraries(
    recorded: dict[str, Any], work: dict[str, Work]
) -> None:
    if request_work.releases() != recorded["releases"]:
        pytest.skip(
            f"others were recorded: run with the releases of work_baseline.json, or {RECORD}"
        )
    found = {name: each.every for name, each in work.items()}
    more = request_work.grown(found, recorded["every"], "instructions, libraries' among them")
    assert not more, "\n".join(more)


def test_system_calls(recorded: dict[str, Any], tmp_path: Path) -> None:
    if not request_work.can_trace(tmp_path):
        pytest.skip("nothing can be traced: apt-get install strace, run as root or allow ptrace")
    found = request_work.system_calls(tmp_path)
    assert min(found.values()) > 2, "the trace does not have the server's calls"
    more = request_work.grown(found, recorded["system calls"], "system calls")
    assert not more, "\n".join(more)


def test_a_twentieth_more_is_named_with_what_to_do() -> None:
    recorded = {"/ping": 1000.0, "3 rows": 4000.0}
    assert not request_work.grown({"/ping": 1050.0, "3 rows": 3000.0}, recorded, "instructions")
    (more,) = request_work.grown({"/ping": 1051.0, "3 rows": 4000.0}, recorded, "instructions")
    assert more.startswith("/ping: 1051 instructions, +5.1% of the 1000 that were recorded.")
    assert RECORD in more
