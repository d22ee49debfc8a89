"""What can go wrong around a service: each fault is a context, inside of which it holds.

To add one: a generator function that takes the service, does it, yields, and takes it back; a line
in `FAULTS`.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psutil

from tests.faults.load import CLIENTS
from tests.faults.service import NAME_SERVER, Service
from tests.faults.source import Source

# Of each tenth of a second a slow process runs so many seconds.
RUNS, STANDS = 0.01, 0.09


class NotHere(Exception):
    """This fault cannot be made on this machine, or of this service."""


def nothing(_service: Service) -> Iterator[None]:
    yield


def reload(service: Service) -> Iterator[None]:
    service.process.send_signal(signal.SIGHUP)
    yield


# --- processes -----------------------------------------------------------------------------------


def killed(
    who: Callable[[Service], Iterable[psutil.Process]], times: int = 1
) -> Callable[[Service], Iterator[None]]:
    def fault(service: Service) -> Iterator[None]:
        for _ in range(times):
            for process in _some(who(service)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        yield

    return fault


def stopped(
    who: Callable[[Service], Iterable[psutil.Process]],
) -> Callable[[Service], Iterator[None]]:
    def fault(service: Service) -> Iterator[None]:
        processes = _some(who(service))
        _signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    return fault


def slow(who: Callable[[Service], Iterable[psutil.Process]]) -> Callable[[Service], Iterator[None]]:
    def fault(service: Service) -> Iterator[None]:
        processes = _some(who(service))
        ended = threading.Event()

        def hinder() -> None:
            while not ended.wait(RUNS):
                _signal(processes, signal.SIGSTOP)
                ended.wait(STANDS)
                _signal(processes, signal.SIGCONT)

        thread = threading.Thread(target=hinder)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    return fault


def a_worker(service: Service) -> list[psutil.Process]:
    return service.workers()[:1]


def the_server(service: Service) -> list[psutil.Process]:
    return [service.server()]


def the_newest_server(service: Service) -> list[psutil.Process]:
    return sorted(service.servers(), key=lambda each: each.create_time())[-1:]


def the_pages(service: Service) -> list[psutil.Process]:
    return service.pages()


def _some(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found = list(processes)
    if not found:
        raise NotHere("no such process in this state")
    return found


def _signal(processes: list[psutil.Process], signum: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


# --- descriptors ---------------------------------------------------------------------------------


def exhausted(
    who: Callable[[Service], Iterable[psutil.Process]],
    meanwhile: Callable[[Service], Iterable[psutil.Process]] | None = None,
) -> Callable[[Service], Iterator[None]]:
    """No new descriptor; meanwhile somebody dies and would have to be replaced."""

    def fault(service: Service) -> Iterator[None]:
        victims = _some(meanwhile(service)) if meanwhile else []
        before = []
        for process in _some(who(service)):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
                before.append((process.pid, limits))
                # Three are in use for certain; the hard limit stays, so that it can be taken back.
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            yield
        finally:
            for pid, limits in before:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

    return fault


def the_launcher(service: Service) -> list[psutil.Process]:
    return [service.launcher]


def output_closed(service: Service) -> Iterator[None]:
    service.close_output()
    yield


def output_full(service: Service) -> Iterator[None]:
    """Nobody reads the pipe, which is full; meanwhile a worker dies, and it is to be reloaded."""
    service.stop_reading()
    service.fill_output()
    workers = service.workers()
    if workers:
        workers[0].kill()
    service.process.send_signal(signal.SIGHUP)
    try:
        yield
    finally:
        service.go_on_reading()


# --- the disk ------------------------------------------------------------------------------------


def disk_full_and_crash(service: Service) -> Iterator[None]:
    with contextlib.contextmanager(disk_full)(service):
        _some(the_server(service))[0].kill()
        yield


def disk_full(service: Service) -> Iterator[None]:
    if service.home is None:
        raise NotHere("no file system can be mounted here")
    filler = service.home / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    try:
        yield
    finally:
        filler.unlink()


def disk_read_only(service: Service) -> Iterator[None]:
    """Put a read-only view of its home over it; what it has open goes on, as after an error."""
    if service.home is None:
        raise NotHere("no file system can be mounted here")
    home = str(service.home)
    subprocess.run(["mount", "--bind", home, home], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", home], check=True)


# --- fork and clone ------------------------------------------------------------------------------


def fork_refused(
    meanwhile: Callable[[Service], Iterable[psutil.Process]] | None,
) -> Callable[[Service], Iterator[None]]:
    """No new process or thread; meanwhile somebody dies and would have to be replaced."""

    def fault(service: Service) -> Iterator[None]:
        if service.group is None:
            raise NotHere("no cgroup that limits processes")
        victims = _some(meanwhile(service)) if meanwhile else []
        limit = service.group / "pids.max"
        limit.write_text("1")
        try:
            for process in victims:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            yield
        finally:
            limit.write_text("max")

    return fault


# --- time, and the world -------------------------------------------------------------------------


def clock_jumps(offset: str) -> Callable[[Service], Iterator[None]]:
    def fault(service: Service) -> Iterator[None]:
        if service.clock is None:
            raise NotHere("no libfaketime")
        service.set_clock(offset)
        try:
            yield
        finally:
            service.set_clock("+0")

    return fault


def source(fails: Callable[[Source], None]) -> Callable[[Service], Iterator[None]]:
    """What the source does, while the model is fetched first, watched, or to be reloaded."""

    def fault(service: Service) -> Iterator[None]:
        fails(service.source)
        try:
            _reload(service)
            yield
        finally:
            service.source.come_back()

    return fault


def no_name(*, is_silent: bool) -> Callable[[Service], Iterator[None]]:
    """The source's name leads nowhere: name servers refuse every question, or answer none."""

    def fault(service: Service) -> Iterator[None]:
        if service.names is None:
            raise NotHere("no file can be mounted over /etc/hosts here")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            if is_silent:
                server.bind((NAME_SERVER, 53))
            service.forget_name()
            service.source.go_away()  # it has to be looked for anew
            try:
                _reload(service)
                yield
            finally:
                service.remember_name()
                service.source.come_back()

    return fault


def _reload(service: Service) -> None:
    # Before it is ready, SIGHUP is the launcher's end, as of any program.
    if service.is_served:
        service.process.send_signal(signal.SIGHUP)


@dataclass(frozen=True)
class Fault:
    """A fault by name.

    `is_fatal`: it is the launcher's end. `needs_clock`: the service must have a clock of its own;
    `needs_name`: a name of the source of its own. `is_of_source`: at a start, it comes while the
    model is being fetched, not while it is being loaded. `costs`: what it may cost a ready service
    at most, by outcome (see `Load`); None where any number may be lost or fail. `least`: seconds
    that it lasts at least.
    """

    name: str
    make: Callable[[Service], Iterator[None]]
    is_fatal: bool = False
    needs_clock: bool = False
    needs_name: bool = False
    is_of_source: bool = False
    costs: Mapping[str, int] | None = None
    least: float = 0.0

    def on(self, service: Service) -> AbstractContextManager[None]:
        """The context in which it holds; raises `NotHere` when entered where it cannot be made."""
        return contextlib.contextmanager(self.make)(service)


# Each client has one request under way.
NOTHING: Mapping[str, int] = {}
WHAT_IS_INSIDE = {"lost": CLIENTS}

FAULTS = (
    Fault("nothing", nothing, costs=NOTHING),
    Fault("a reload", reload, costs=NOTHING),
    Fault("a worker is killed 5 times", killed(a_worker, 5), costs={"failed": 5}),
    Fault("a worker is stopped", stopped(a_worker), costs=NOTHING),
    Fault("a worker is slow", slow(a_worker), costs=NOTHING),
    Fault("the server is killed", killed(the_server), costs=WHAT_IS_INSIDE),
    Fault("the next server is killed", killed(the_newest_server), costs=WHAT_IS_INSIDE),
    # Longer than --liveness-timeout: it is replaced.
    Fault("the server is stopped", stopped(the_server), costs=WHAT_IS_INSIDE, least=3.0),
    Fault("the server is slow", slow(the_server), costs=WHAT_IS_INSIDE),
    Fault("the pages' process is killed", killed(the_pages), costs=NOTHING),
    Fault("the pages' process is stopped", stopped(the_pages), costs=NOTHING),
    Fault("the launcher is stopped", stopped(the_launcher), costs=NOTHING),
    Fault("the launcher is slow", slow(the_launcher), costs=NOTHING),
    Fault("the launcher is killed", killed(the_launcher), is_fatal=True),
    Fault("the server has no descriptors left", exhausted(the_server)),
    Fault("the launcher has no descriptors left", exhausted(the_launcher), costs=NOTHING),
    Fault("the server has no descriptors left, a worker dies", exhausted(the_server, a_worker)),
    Fault(
        "the launcher has no descriptors left, the server dies", exhausted(the_launcher, the_server)
    ),
    Fault("output is closed", output_closed, costs=NOTHING),
    Fault("output is a full pipe", output_full, costs={"failed": 1}),
    Fault("the disk is full", disk_full, costs=NOTHING),
    Fault("the disk is full, the server dies", disk_full_and_crash, costs=WHAT_IS_INSIDE),
    Fault("the disk is read-only", disk_read_only, costs=NOTHING),
    Fault("fork refused", fork_refused(None), costs=NOTHING),
    Fault("fork refused, a worker dies", fork_refused(a_worker), costs={"failed": 1}),
    Fault("fork refused, the server dies", fork_refused(the_server), costs=WHAT_IS_INSIDE),
    Fault("the clock jumps 5 h ahead", clock_jumps("+5h"), needs_clock=True, costs=NOTHING),
    Fault("the clock jumps 5 h back", clock_jumps("-5h"), needs_clock=True, costs=NOTHING),
    *(
        Fault(f"the model's source {what}", source(how), is_of_source=True, costs=NOTHING)
        for what, how in (
            ("is gone", Source.go_away),
            ("is silent", Source.fall_silent),
            ("breaks off", Source.break_off),
        )
    ),
    *(
        Fault(what, no_name(is_silent=is_silent), needs_name=True, is_of_source=True, costs=NOTHING)
        for what, is_silent in (
            ("the name of the model's source is unknown", False),
            ("the name server is silent", True),
        )
    ),
)
