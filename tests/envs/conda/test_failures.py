"""What cannot be trusted or had is refused, each with its own words, and leaves nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from envs import EnvError, EnvStore
from envs.disk.files import remove_tree
from envs.inventory import remove
from tests.envs.conda.channel import Channel, Package, library
from tests.envs.conda.server import ChannelServer, serving

pytestmark = pytest.mark.slow

Build = Callable[..., Any]


def refused(build: Build, *arguments: Any, **fields: Any) -> EnvError:
    """The error of a build; it is one line, and no traceback of py-rattler."""
    with pytest.raises(EnvError) as raised:
        build(*arguments, **fields)
    error = raised.value
    assert "\n" not in f"{error.message}{error.hint}"
    assert error.hint
    return error


def environments(store: EnvStore) -> list[str]:
    return [path.name for path in store.root.iterdir() if not path.name.startswith(".")]


def tamper(channel: Channel) -> None:
    """Put another package, a sound one, in place of tiny 2.0; the index stays as it was."""
    archive = channel.archive("tiny-2.0")
    archive.unlink()  # other channels have links to it
    library("tiny", "2.0", requires=["malware"]).write(channel.folder)
    assert archive.exists()


def test_a_tampered_package_in_a_folder(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    tamper(channel)
    error = refused(build, channel.url, "tiny", store=fresh_store)
    assert error.message == (
        "The hash of the conda package tiny-2.0-0.conda is not the expected one."
    )
    assert environments(fresh_store) == []


def test_a_tampered_package_over_http(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    tamper(channel)
    with serving(channel.folder) as server:
        error = refused(build, server.url, "tiny", store=fresh_store)
    assert error.message == (
        "The hash of the conda package tiny-2.0-0.conda is not the expected one."
    )
    assert environments(fresh_store) == []


@pytest.mark.slow
def test_a_damaged_package_over_http(build: Build, channel: Channel, fresh_store: EnvStore) -> None:
    archive = channel.archive("tiny-2.0")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.unlink()
    archive.write_bytes(content)
    with serving(channel.folder) as server:
        error = refused(build, server.url, "tiny", store=fresh_store)
    assert error.message.startswith("The conda package tiny-2.0-0.conda is damaged: ")


def test_a_package_of_the_same_name_is_not_taken_from_the_cache(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    build(channel.url, "tiny", store=fresh_store)
    tamper(channel)
    channel.index()
    other = build(channel.url, "tiny>1", store=fresh_store).environment
    (metadata,) = other.path.glob("lib/*/site-packages/tiny-*.dist-info/METADATA")
    assert "malware" in metadata.read_text()


def test_a_package_whose_file_is_missing(build: Build, channel: Channel) -> None:
    channel.archive("tiny-2.0").unlink()
    error = refused(build, channel.url, "tiny >=2")
    assert "tiny-2.0-0.conda is in the index" in error.message
    assert "its file is missing" in error.message


def test_a_package_without_a_hash(build: Build, channel: Channel, fresh_store: EnvStore) -> None:
    index = channel.folder / "noarch" / "repodata.json"
    repodata = json.loads(index.read_bytes())
    for row in repodata["packages.conda"].values():
        del row["sha256"], row["md5"]
    index.unlink()
    index.write_text(json.dumps(repodata))
    with serving(channel.folder) as server:
        error = refused(build, server.url, "tiny", store=fresh_store)
    assert "has no hash in the index of" in error.message


def test_an_unknown_channel(build: Build, channel: Channel, tmp_path: Path) -> None:
    missing = (tmp_path / "missing").as_uri()
    assert refused(build, missing, "tiny").message == f"The conda channel {missing} is not there."
    with serving(channel.folder) as server:
        url = f"http://{server.address}/missing"
        error = refused(build, url, "tiny")
    assert error.message == f"The conda channel {url} is not there."
    assert error.hint == "Check the channels in conda.yaml."


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nosuch", "No candidates were found for nosuch"),
        ("tiny>=9", "No candidates were found for tiny >=9"),
        ("needy", "tiny >=9"),
    ],
)
def test_unsolvable_specs(build: Build, channel: Channel, spec: str, words: str) -> None:
    channel.add(library("needy", "1.0", depends=["python", "tiny >=9"]))
    error = refused(build, channel.url, spec)
    assert error.message.startswith("The conda requirements cannot be resolved: ")
    assert words in error.message
    assert error.log_path is not None
    assert words in error.log_path.read_text()


def test_a_spec_that_cannot_be_read(build: Build, channel: Channel) -> None:
    error = refused(build, channel.url, "tiny=>1")
    assert error.message.startswith("conda.yaml: the requirement 'tiny=>1' cannot be read")


def test_a_channel_for_other_platforms(build: Build, tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel")
    channel.add(library("tiny", "1.0"))
    error = refused(build, channel.url, "tiny")
    assert "No candidates were found for python" in error.message


def test_no_channels(build: Build) -> None:
    assert "names no channels" in refused(build, ["nodefaults"], "tiny").message


def test_a_channel_that_does_not_answer(build: Build) -> None:
    error = refused(build, "http://127.0.0.1:9/channel", "tiny")
    assert error.message.startswith(
        "The conda channel http://127.0.0.1:9/channel cannot be reached: "
    )
    assert "refused" in error.message


@pytest.mark.parametrize("trouble", ["repodata.json", "tiny-2.0-0.conda"])
def test_troubled_channels_are_asked_again(
    build: Build, channel: Channel, fresh_store: EnvStore, trouble: str
) -> None:
    with serving(channel.folder) as server:
        server.failures, server.fails_on = 2, trouble
        assert build(server.url, "tiny", store=fresh_store).versions["tiny"] == "2.0"
        assert server.failures == 0


@pytest.mark.slow
def test_a_channel_that_hangs(
    build: Build, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_REMOTE_READ_TIMEOUT_SECS", "1")
    with serving(channel.folder) as server:
        server.hangs = True
        error = refused(build, server.url, "tiny")
    assert (
        error.message == f"The conda channel {server.url} cannot be reached: operation timed out."
    )


def files_with(text: str, folder: Path, *names: str) -> list[str]:
    """The files below a folder (with these endings) that have a text in them."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in names and text.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize("kind", ["password", "token"])
def test_credentials_open_the_channel_and_are_written_nowhere(
    build: Build, channel: Channel, fresh_store: EnvStore, kind: str
) -> None:
    secret = "s3cret-and-more"
    options = {"user": f"me:{secret}"} if kind == "password" else {"token": secret}
    with serving(channel.folder, **options) as server:
        given = (
            f"http://me:{secret}@{server.address}/channel"
            if kind == "password"
            else f"http://{server.address}/t/{secret}/channel"
        )
        built = build(given, "tiny", store=fresh_store)
        assert any(path.endswith("tiny-2.0-0.conda") for path in server.requested)
        refusal = refused(build, given, "nosuch", store=fresh_store)
        server.user, server.token = "me:changed", "changed" if kind == "token" else None
        changed = refused(build, given, "tiny=1", store=EnvStore(fresh_store.home / "other"))
    assert secret not in f"{built.said}{built.environment}{refusal}{changed}"
    written = (".json", ".log", ".txt", ".yml", ".lock", "", ".msgpack")
    assert files_with(server.address, fresh_store.home, *written)
    assert files_with(secret, fresh_store.home, *written) == []


def test_a_channel_that_wants_a_password(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    with serving(channel.folder, user="me:secret") as server:
        error = refused(build, server.url, "tiny", store=fresh_store)
    assert error.message == f"The conda channel {server.url} refuses access: 401 Unauthorized."
    assert "$" in (error.hint or "")


def test_offline(build: Build, channel: Channel, fresh_store: EnvStore) -> None:
    with serving(channel.folder) as server:
        build(server.url, "tiny=1", store=fresh_store)
        asked = len(server.requested)
        # All that is needed is in the cache, though the environment is another one.
        found = build(server.url, "tiny==1.0", store=fresh_store, offline=True)
        assert found.versions["tiny"] == "1.0"
        error = refused(build, server.url, "tiny=2", store=fresh_store, offline=True)
        assert error.message == (
            "The conda package tiny-2.0-0.conda is not in the cache, and nothing may be downloaded."
        )
        empty = EnvStore(fresh_store.home / "empty")
        error = refused(build, server.url, "tiny", store=empty, offline=True)
        assert error.message == (
            f"The conda channel {server.url} is not in the cache, and nothing may be downloaded."
        )
        assert len(server.requested) == asked


def test_offline_with_an_index_in_shards(
    choose: Callable[..., Any], channel: Channel, fresh_store: EnvStore
) -> None:
    channel.add(library("more", "1.0"))
    channel.index_in_shards()
    with serving(channel.folder) as server:
        assert choose(server.url, "tiny", store=fresh_store).versions["tiny"] == "2.0"
        assert any("/shards/" in path for path in server.requested)
        asked = len(server.requested)
        choose(server.url, "tiny=1", store=fresh_store, offline=True)
        with pytest.raises(EnvError) as raised:
            choose(server.url, "more", store=fresh_store, offline=True)
        assert len(server.requested) == asked
    assert raised.value.message == (
        "The conda package more is not in the cache, and nothing may be downloaded."
    )


BUILD = """
import sys
from tests.envs.conda.channel import conda_spec
from envs import EnvStore, prepare
from pathlib import Path
home, channel, *specs = sys.argv[1:]
environment = prepare(
    conda_spec(channel, *specs),
    store=EnvStore(Path(home)),
    report=lambda text: print(text, flush=True),
)
print("built", environment.path, flush=True)
"""


def start_build(store: EnvStore, channel: str, *specs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(store.home), channel, *specs],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def wait_for_request(server: ChannelServer, ending: str) -> None:
    deadline = time.monotonic() + 60
    while not any(path.endswith(ending) for path in server.requested):
        assert time.monotonic() < deadline, server.requested
        time.sleep(0.02)


@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_build_killed_while_it_installs_is_done_again(
    build: Build, channel: Channel, fresh_store: EnvStore, signum: signal.Signals
) -> None:
    with serving(channel.folder) as server:
        server.hangs_on = "tiny-2.0-0.conda"
        process = start_build(fresh_store, server.url, "tiny")
        wait_for_request(server, "tiny-2.0-0.conda")
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signum)
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []
        server.hangs_on = None
        server.let_go.set()
        built = build(server.url, "tiny", store=fresh_store)
    assert not built.environment.reused
    assert built.versions["tiny"] == "2.0"


@pytest.mark.slow
def test_builds_killed_at_random_moments(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    """Whatever a kill leaves in prefix and package cache, the next build is right."""
    moments = random.Random(20)
    for _ in range(20):
        process = start_build(fresh_store, channel.url, "tiny")
        try:
            process.communicate(timeout=moments.uniform(0.1, 1.5))
        except subprocess.TimeoutExpired:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
            _, alive = psutil.wait_procs(family, timeout=20)
            assert alive == []
        built = build(channel.url, "tiny", store=fresh_store).environment
        check = "import tiny, ssl, json, sqlite3, encodings.idna; print(tiny.__version__)"
        done = subprocess.run([built.python, "-I", "-c", check], capture_output=True, check=True)
        assert done.stdout == b"2.0\n"
        assert built.mark is not None
        built.mark.release()
        remove(fresh_store, built.key)
        if moments.random() < 0.5:
            remove_tree(fresh_store.home / "conda")


def test_a_full_disk(build: Build, channel: Channel, small_disk: Path) -> None:
    channel.add(
        Package("large", "1.0", files={"share/large": os.urandom(30_000_000)}, noarch="generic")
    )
    store = EnvStore(small_disk / "home")
    error = refused(build, channel.url, "large", store=store)
    assert error.message == f"There is no space left on the disk of {store.home}."
    assert environments(store) == []


@pytest.mark.slow
def test_builds_at_once_share_the_package_cache(channel: Channel, fresh_store: EnvStore) -> None:
    with serving(channel.folder) as server:
        specs = ["tiny", "tiny=1", "tiny", "tiny>=1"]
        processes = [start_build(fresh_store, server.url, spec) for spec in specs]
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    folders = {output.splitlines()[-1] for output in outputs}
    assert len(folders) == 3
    downloads = [path for path in server.requested if path.endswith("tiny-2.0-0.conda")]
    assert len(downloads) == 1


@pytest.mark.slow
def test_the_exit_code_is_right_in_200_of_200_runs(channel: Channel, store: EnvStore) -> None:
    """py-rattler crashes at the exit of a few percent of the processes that have used it."""
    from envs.building.context import Context
    from envs.managers.conda.channels import read_channels
    from envs.managers.conda.machine import this_machine
    from envs.managers.conda.packages import Wanted, install, solve

    context = Context(home=store.home)
    channels = read_channels([channel.url], None, {})
    wanted = Wanted(channels, ("tiny",), {}, this_machine(context))
    prefix = store.home / "conda-prefix"
    for _ in range(100):  # each of them two processes: one solves, one installs
        solution = solve(wanted, context)
        assert {package.name for package in solution.packages} == {"tiny", "python"}
        install(solution.packages, prefix, wanted, context)
        assert list(prefix.glob("conda-meta/tiny-2.0-0.json"))
        remove_tree(prefix)
        assert not any("exit code" in line for line in context.log.tail)
