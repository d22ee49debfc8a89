"""Each fault on a ready service under load; with ``-m long``, every fault in every state, a soak.

The tables are printed at the end as Markdown. `python -m tests.faults.matrix` prints the whole one
without pytest, `python -m tests.faults.soak --minutes 30` soaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, Fault
from tests.faults.matrix import STATES, Cell, run_cell, table
from tests.faults.soak import LESS_ROOM, soak

CELLS: list[Cell] = []
# Seconds that a fault lasts: in the long matrix long enough for the launcher to give up the server.
SHORT, LONG = 0.8, 3.0


def cells(*states: str) -> list[object]:
    return [
        pytest.param(fault, state, id=f"{fault.name}, {state}")
        for fault in FAULTS
        for state in states
    ]


@pytest.fixture(scope="module", autouse=True)
def print_the_table(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print(f"\n{table(CELLS)}")


def judge(cell: Cell) -> None:
    CELLS.append(cell)
    if cell.left_out:
        pytest.skip(cell.left_out)
    assert not cell.problems, f"{cell.row()}\n{cell.said}"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(("fault", "state"), cells("ready"))
def test_every_fault_of_a_ready_service(fault: Fault, state: str, tmp_path: Path) -> None:
    judge(run_cell(fault, state, tmp_path / "service", SHORT))


@pytest.mark.slow
@pytest.mark.alone
def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    cell = run_cell(FAULTS[0], "draining", tmp_path / "service", SHORT)
    judge(cell)
    assert cell.outcomes["answered"]
    assert not {"lost", "failed"} & set(cell.outcomes)


@pytest.mark.slow
@pytest.mark.alone
def test_nothing_grows(tmp_path: Path) -> None:
    assert not soak(15, tmp_path / "service", faults=FAULTS[:1], room=LESS_ROOM)


@pytest.mark.long
@pytest.mark.parametrize(("fault", "state"), cells(*STATES))
def test_every_fault_in_every_state(fault: Fault, state: str, tmp_path: Path) -> None:
    judge(run_cell(fault, state, tmp_path / "service", LONG))


@pytest.mark.long
def test_soak(tmp_path: Path) -> None:
    assert not soak(120, tmp_path / "service")
