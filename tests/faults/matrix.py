"""Every fault in every state of a service under load, and what became of it.

    python -m tests.faults.matrix [--hold SECONDS] [--only WORD]

prints the table as Markdown; it takes some ten minutes and needs root for the disks and limits.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.faults import FAULTS, Fault, NotHere
from tests.faults.load import Load, is_doubled, question
from tests.faults.service import WORKERS, Service, running, wait

STATES = ("starting", "ready", "reloading", "draining")
# Seconds after a fault's end within which the service must answer again: the longest backoff of a
# restart after a few crashes, and a start.
RECOVERY = 20.0
# What the launcher's exit codes say of a first start that failed: it is not tried again.
NOT_STARTED = (2, 3, 4)
# How long the model loads where the fault has to come meanwhile, in seconds.
LOADING = 2.0
HEAD = (
    "| fault | state | sent | answered | failed | refused | lost | longest gap | afterwards |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
)


@dataclass
class Cell:
    """What came of one fault in one state.

    `problems` say what must not be; `left_out` why the fault could not be made; `ended` is the exit
    code of a start that failed.
    """

    fault: str
    state: str
    outcomes: dict[str, int] = field(default_factory=dict)
    gap: float = 0.0
    problems: list[str] = field(default_factory=list)
    left_out: str = ""
    said: str = ""
    ended: int = 0

    def row(self) -> str:
        """The line of the table."""
        if self.left_out:
            return f"| {self.fault} | {self.state} | | | | | | | left out: {self.left_out} |"
        names = ("answered", "failed", "refused", "lost")
        counts = [sum(self.outcomes.values()), *(self.outcomes.get(each, 0) for each in names)]
        figures = " | ".join(map(str, counts))
        fine = f"not started, exit code {self.ended}" if self.ended else "as it should be"
        outcome = "; ".join(self.problems) or fine
        return f"| {self.fault} | {self.state} | {figures} | {self.gap:.1f} s | {outcome} |"


def run_cell(fault: Fault, state: str, folder: Path, hold: float) -> Cell:
    """Do one fault to a service in one state.

    :param folder: where the service lives; removed afterwards.
    :param hold: seconds for which the fault lasts.
    """
    cell = Cell(fault.name, state)
    loading = LOADING if state == "starting" else 0.0
    with running(
        folder,
        loading,
        has_clock=fault.needs_clock,
        has_name=fault.needs_name,
        is_fetching=fault.is_of_source and state == "starting",
    ) as (service, load):
        slow = _bring_to(service, load, state, cell)
        apply(fault, service, load, cell, hold)
        if state == "ready" and not fault.is_fatal and not (cell.left_out or cell.problems):
            _expect_to_follow(service, load, cell)
        if not cell.left_out:
            expect_its_end(service, fault, cell)
        if slow is not None:
            slow.join()
    return cell


def apply(
    fault: Fault,
    service: Service,
    load: Load,
    cell: Cell,
    hold: float,
    recovery: float = RECOVERY,
) -> None:
    """Do the fault, and see the service answer again where it should.

    :param recovery: seconds that it has for that.
    """
    began = time.monotonic()
    try:
        with fault.on(service):
            time.sleep(max(hold, fault.least))
    except NotHere as reason:
        cell.left_out = str(reason)
        return
    if not fault.is_fatal and cell.state != "draining":
        _expect_recovery(service, load, cell, recovery)
        cell.gap = load.longest_gap(began)
    cell.outcomes = dict(load.outcomes)
    if cell.state == "ready" and fault.costs is not None:
        for outcome in ("failed", "refused", "lost"):
            if cell.outcomes.get(outcome, 0) > fault.costs.get(outcome, 0):
                cell.problems.append(f"{cell.outcomes[outcome]} {outcome}")
    if load.wrong:
        cell.problems.append(f"answered wrongly: {load.wrong[:3]}")
        load.wrong.clear()


def expect_its_end(service: Service, fault: Fault | None, cell: Cell) -> None:
    """Stop the service, where the fault does not, and see that nothing is left."""
    is_fatal = fault is not None and fault.is_fatal
    was_alive = service.is_alive()
    code = service.wait() if is_fatal or cell.state == "draining" else service.stop()
    if code is None:
        cell.problems.append("the launcher does not end")
    elif code != (-signal.SIGKILL if is_fatal else cell.ended) and (was_alive or not cell.problems):
        cell.problems.append(f"the launcher ended with {code}: {_last_line(service)}")
    survivors = [f"{each.pid} {each.name()}" for each in service.survivors()]
    if survivors:
        cell.problems.append(f"left behind: {', '.join(survivors)}")
    cell.said = service.output


def _bring_to(service: Service, load: Load, state: str, cell: Cell) -> threading.Thread | None:
    if service.source.is_silent:
        wait(service.source.is_asked.is_set, "the model is not being fetched")
    else:
        service.wait_until_loading()
    if state == "starting":
        return None
    service.wait_for_answers(load, 50)
    service.workers()
    load.count_anew()
    if state == "reloading":
        service.load_takes(LOADING)
        service.forget_loading()
        service.process.send_signal(signal.SIGHUP)
        service.wait_until_loading()
    if state == "draining":
        # It drains for as long as this one is being answered.
        slow = threading.Thread(target=_ask_slowly, args=(service.port, LOADING, cell))
        slow.start()
        service.wait_for_answers(load, 20)
        service.process.send_signal(signal.SIGTERM)
        wait(lambda: "stopping" in service.output, f"does not stop:\n{service.output}")
        return slow
    return None


def _ask_slowly(port: int, seconds: float, cell: Cell) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/invocations", *question(7, seconds))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200 and not is_doubled(body, 7):
            cell.problems.append(f"answered wrongly: {body[:100]!r}")
    except (OSError, http.client.HTTPException):
        return  # lost with what the fault took
    finally:
        connection.close()


def _expect_recovery(service: Service, load: Load, cell: Cell, within: float) -> None:
    recovered = load.wait_for_answers(40, within, service.is_alive)
    if not service.is_alive():
        code = service.process.returncode
        if cell.state == "starting" and code in NOT_STARTED:
            cell.ended = code
            return
        cell.problems.append(f"the launcher died with {code}: {_last_line(service)}")
    elif not recovered:
        statuses = dict(load.statuses)
        cell.problems.append(f"no answers {within:g} s afterwards (statuses {statuses})")
    else:
        # Each question comes to one worker: all of them are soon met.
        until = time.monotonic() + within
        while len(service.workers()) < WORKERS:
            if time.monotonic() > until:
                cell.problems.append(f"not {WORKERS} workers {within:g} s afterwards")
                break


def _expect_to_follow(service: Service, load: Load, cell: Cell) -> None:
    """It still looks after its source, and takes the next edition of the model."""
    service.forget_loading()
    service.source.move()
    try:
        service.wait_until_loading()
    except AssertionError:
        cell.problems.append("the source is not watched any more")
    if not load.wait_for_answers(20, RECOVERY):
        cell.problems.append("no answers after the model has moved")


def _last_line(service: Service) -> str:
    lines = [line.strip() for line in service.lines if line.strip()]
    return lines[-1][:120].replace("|", "/") if lines else "no output"


def table(cells: Iterable[Cell]) -> str:
    """The cells as a Markdown table."""
    return "\n".join([HEAD, *(cell.row() for cell in cells)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=float, default=3.0, help="seconds that a fault lasts")
    parser.add_argument("--only", default="", help="faults with this in their name or state")
    parser.add_argument("--said", action="store_true", help="with a problem, what was printed")
    chosen = parser.parse_args()
    print(HEAD, flush=True)
    problems = 0
    for fault in FAULTS:
        for state in STATES:
            if chosen.only in f"{fault.name} {state}":
                with tempfile.TemporaryDirectory() as folder:
                    cell = run_cell(fault, state, Path(folder) / "service", chosen.hold)
                print(cell.row(), flush=True)
                problems += bool(cell.problems)
                if chosen.said and cell.problems:
                    print(cell.said, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
