"""A service under load with a fault every few seconds, for as long as one likes.

    python -m tests.faults.soak --minutes 30

prints what was done, and memory, descriptors and processes at the start and the end; what grew, or
went wrong, is its exit status.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import FAULTS, Fault
from tests.faults.load import Load
from tests.faults.matrix import Cell, apply, expect_its_end
from tests.faults.service import Service, running

# After so many answers, what is allocated once is there.
SETTLED = 500
# Seconds: crash after crash, the launcher waits up to 30 before it starts the next server.
RECOVERY = 45.0
# A soak is no crash loop: more crashes a minute than a service usually survives.
OPTIONS = ("--max-restarts", "1000")


@dataclass(frozen=True)
class Size:
    """What a service takes: memory of its own (USS) in MB, of all its processes together."""

    megabytes: float
    descriptors: int
    processes: int

    def __str__(self) -> str:
        return (
            f"{self.megabytes:.0f} MB, {self.descriptors} descriptors, {self.processes} processes"
        )


# What may be more at the end, after faults, and without any.
ROOM, LESS_ROOM = Size(60, 4, 0), Size(20, 2, 0)
SOAKED = tuple(
    each
    for each in FAULTS
    # Once closed, output stays closed; a soak with libfaketime would measure that, too.
    if not (each.is_fatal or each.needs_clock or each.needs_name)
    and each.name not in ("output is closed", "nothing")
)


def size_of(service: Service, load: Load) -> Size:
    """Its size at rest: once it has answered for a while as it does without a fault."""
    load.wait_for_answers(SETTLED, 60)
    family = [service.launcher, *service.launcher.children(recursive=True)]
    return Size(
        sum(each.memory_full_info().uss for each in family) / 2**20,
        sum(each.num_fds() for each in family),
        len(family),
    )


def soak(
    seconds: float,
    folder: Path,
    seed: int = 1,
    faults: Sequence[Fault] = SOAKED,
    room: Size = ROOM,
) -> list[str]:
    """Fault after fault, in a random order.

    :param room: what may be more at the end.
    :returns: what must not be.
    """
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    with running(folder, 0.0, OPTIONS) as (service, load):
        service.wait_for_answers(load, 50)
        load.count_anew()
        before = size_of(service, load)
        print(f"at the start: {before}", flush=True)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and service.is_alive():
            fault = chance.choice(faults)
            cell = Cell(fault.name, "ready")
            load.count_anew()
            apply(fault, service, load, cell, chance.uniform(0.2, 3.0), RECOVERY)
            outcomes.update(cell.outcomes)
            done[fault.name] += not cell.left_out
            problems += [f"{fault.name}: {problem}" for problem in cell.problems]
            if cell.problems:
                print(cell.row(), flush=True)
        end = Cell("soak", "ready")
        if service.is_alive():
            after = size_of(service, load)
            print(f"at the end:   {after}", flush=True)
            if after.megabytes > before.megabytes + room.megabytes:
                problems.append(f"memory grew: {before}, then {after}")
            if after.descriptors > before.descriptors + room.descriptors:
                problems.append(f"descriptors grew: {before}, then {after}")
            if after.processes > before.processes + room.processes:
                problems.append(f"processes grew: {before}, then {after}")
        expect_its_end(service, None, end)
        problems += end.problems
    print(
        "requests: " + ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items()))
    )
    print("faults: " + ", ".join(f"{number} x {name}" for name, number in done.most_common()))
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = soak(chosen.minutes * 60, Path(folder) / "service", chosen.seed)
    print("\n".join(problems) or "nothing went wrong")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
