"""Under fire: kills, races, full disks. Real processes, real signals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from envs import EnvError, EnvSpec, EnvStore, prepare
from envs.inventory import entries, prune

StartPython = Callable[..., subprocess.Popen[str]]
LocalSpec = Callable[..., EnvSpec]

# Arguments: home, requirement lines as JSON. Prints each report, at last a JSON result.
PREPARE = """
import json, sys
from pathlib import Path
from envs import EnvSpec, EnvStore, prepare
spec = EnvSpec(requirements=tuple(json.loads(sys.argv[2])), build_requirements=())
built = prepare(spec, store=EnvStore(Path(sys.argv[1])), report=lambda m: print(m, flush=True))
print(json.dumps({"key": built.key, "reused": built.reused, "packages": dict(built.packages)}))
"""


def start(run_python: StartPython, store: EnvStore, spec: EnvSpec) -> subprocess.Popen[str]:
    return run_python(PREPARE, store.home, json.dumps(spec.requirements))


def result(process: subprocess.Popen[str]) -> tuple[list[str], dict[str, object]]:
    """Return what a process reported and its result."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    *said, last = output.splitlines()
    return said, json.loads(last)


@pytest.fixture
def slow_spec(tmp_path: Path, make_slow_sdist: Callable[..., Path]) -> Callable[..., EnvSpec]:
    """A spec of a package whose build starts ``sleep SECONDS``."""

    def make(name: str, seconds: float) -> EnvSpec:
        make_slow_sdist(tmp_path / "sources", name, seconds)
        lines = ("--no-index", f"--find-links {tmp_path}/sources", name)
        return EnvSpec(requirements=lines, build_requirements=())

    return make


def sleepers(seconds: float) -> list[psutil.Process]:
    """Return the processes that a slow build has started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", str(seconds)]:
            found.append(process)
    return found


@pytest.mark.slow
def test_ten_at_the_same_moment_build_once(
    run_python: StartPython, store: EnvStore, slow_spec: Callable[..., EnvSpec]
) -> None:
    spec = slow_spec("grape", 1.5)
    results = [result(process) for process in [start(run_python, store, spec) for _ in range(10)]]
    assert Counter(found["reused"] for _, found in results) == {False: 1, True: 9}
    assert len({found["key"] for _, found in results}) == 1
    waited = [said for said, found in results if found["reused"]]
    assert all(len(said) <= 1 for said in waited)
    lines = {line for said in waited for line in said}
    assert any(line.startswith("waiting for the build of environment") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_was_ended_leaves_no_process_and_is_done_again(
    run_python: StartPython,
    store: EnvStore,
    slow_spec: Callable[..., EnvSpec],
    number: signal.Signals,
) -> None:
    spec = slow_spec("melon", 613.25)
    first = start(run_python, store, spec)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("building"):
            break
    while not (family := sleepers(613.25)):
        assert first.poll() is None
    first.send_signal(number)
    first.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    states = [entry.state for entry in entries(store)]
    assert states == (["unfinished"] if number == signal.SIGKILL else [])
    slow_spec("melon", 0)  # the same name and version, and quick this time
    assert prepare(spec, store=store).packages == {"melon": "1.0"}
    assert prune(store) == []


def in_small_disk(megabytes: int, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with ``folder`` being a disk of so many megabytes, seen by that process alone."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: apt-get install util-linux")
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "{folder}"'
    script = f'{mount} && exec "{sys.executable}" -c "$0"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"no private mounts on this machine, run as root: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize("filled", ["by the packages", "before the build"])
def test_a_full_disk_is_said_and_nothing_is_left(
    tmp_path: Path, make_wheel: Callable[..., Path], filled: str
) -> None:
    noise = random.Random(1).randbytes(6_000_000).hex()
    make_wheel(tmp_path / "wheels", "plum", code=f"x = {noise!r}")
    spec = ("--no-index", f"--find-links {tmp_path}/wheels", "plum")
    small = tmp_path / "small"
    code = f"""if True:
        import os, sys
        from pathlib import Path
        from envs import EnvError, EnvSpec, EnvStore, prepare
        store = EnvStore(Path({str(small)!r}))
        if {filled == "before the build"!r}:
            with open({str(small / "filler")!r}, "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(4096))
                except OSError:
                    pass
        try:
            prepare(EnvSpec(requirements={spec!r}, build_requirements=()), store=store)
        except EnvError as error:
            print(error.message)
            print(error.hint)
        print(sorted(p.name for p in store.root.glob("[0-9a-f]*")))
    """
    done = in_small_disk(4, small, code)
    assert done.returncode == 0, done.stderr
    message, hint, left = done.stdout.splitlines()
    assert message == f"There is no space left on the disk of {small}."
    assert "LAUNCHER_HOME" in hint
    assert left == "[]"


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments(
    run_python: StartPython, store: EnvStore, slow_spec: Callable[..., EnvSpec]
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for number in range(20):
        name = f"kiwi{number}"
        spec = slow_spec(name, 0.4)
        process = start(run_python, store, spec)
        try:
            process.wait(timeout=moments.uniform(0.05, 2.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        for entry in entries(store):
            assert entry.state in ("complete", "unfinished"), f"seed {seed}"
        built = prepare(spec, store=store)
        subprocess.run([built.python, "-c", f"import {name}"], check=True)
        with built.in_use():
            pass
    assert {entry.state for entry in entries(store)} == {"complete"}
    assert prune(store) == []
    assert len(prune(store, older_than=0)) == 20
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_thirty_two_race_for_four_keys_while_some_are_killed_and_one_prunes(
    run_python: StartPython, store: EnvStore, slow_spec: Callable[..., EnvSpec]
) -> None:
    specs = [slow_spec(name, 1) for name in ("lime", "mango", "olive", "peach")]
    racers = [start(run_python, store, specs[number % 4]) for number in range(32)]
    for victim in racers[:4]:
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(timeout=0.5)
        victim.kill()
    while any(racer.poll() is None for racer in racers[4:]):
        prune(store, older_than=0)
        next((r for r in racers[4:] if r.poll() is None), racers[4]).wait()
    finished = [result(racer) for racer in racers[4:]]
    assert len({found["key"] for _, found in finished}) == 4
    for spec in specs:
        assert prepare(spec, store=store).packages == {spec.requirements[-1]: "1.0"}
    prune(store, older_than=0)


@pytest.mark.slow
def test_environments_in_use_survive_pruning_in_a_loop(
    run_python: StartPython, store: EnvStore, local_spec: LocalSpec
) -> None:
    """Users that start and end all the time never find their environment gone."""
    spec = local_spec("apple")
    code = """
        import json, subprocess, sys
        from pathlib import Path
        from envs import EnvSpec, EnvStore, prepare
        spec = EnvSpec(requirements=tuple(json.loads(sys.argv[2])), build_requirements=())
        for _ in range(8):
            built = prepare(spec, store=EnvStore(Path(sys.argv[1])))
            with built.in_use():
                for _ in range(3):
                    subprocess.run([built.python, "-c", "import apple"], check=True)
    """
    users = [run_python(code, store.home, json.dumps(spec.requirements)) for _ in range(4)]
    pruned = 0
    while any(user.poll() is None for user in users):
        pruned += len(prune(store, older_than=0))
    for user in users:
        output, _ = user.communicate()
        assert user.returncode == 0, output
    assert pruned > 0


def test_a_cache_folder_that_cannot_be_made_is_an_error_of_one_line(
    tmp_path: Path, local_spec: LocalSpec
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((EnvError, OSError)) as caught:
        prepare(local_spec("apple"), store=EnvStore(tmp_path / "file" / "home"))
    assert isinstance(caught.value, EnvError)
    assert "\n" not in caught.value.message
    assert os.fspath(tmp_path / "file") in caught.value.message
