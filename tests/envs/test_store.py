"""The cache: complete or absent, one build, reuse, marks, pruning."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envs import EnvError, Environment, EnvSpec, EnvStore, describe, prepare
from envs.disk.locks import try_exclusive
from envs.inventory import entries, prune, remove, resolve_key, total_size

LocalSpec = Callable[..., EnvSpec]
AtHand = Callable[..., Environment]


def output_of(python: Path, code: str) -> str:
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_environment_has_what_was_asked_for_and_only_that(
    store: EnvStore, local_spec: LocalSpec
) -> None:
    built = prepare(local_spec("banana", "apple<2"), store=store)
    assert built.packages == {"banana": "1.0", "apple": "1.0"}
    assert not built.reused
    code = "import sys, banana, apple; print(sys.prefix, apple.__version__)"
    assert output_of(built.python, code) == f"{built.path} 1.0"
    assert built.python_version == "{}.{}.{}".format(*sys.version_info)


def test_the_second_time_nothing_is_run(
    store: EnvStore, local_spec: LocalSpec, at_hand: AtHand
) -> None:
    spec = local_spec("apple")
    built = at_hand("apple")
    # In a process of its own, since an audit hook cannot be taken off.
    code = """if True:
        import sys
        from pathlib import Path
        def hook(event, arguments):
            if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system"):
                sys.exit(f"ran {arguments}")
        sys.addaudithook(hook)
        from envs import EnvSpec, EnvStore, prepare
        spec = EnvSpec(requirements=tuple(sys.argv[2:]), build_requirements=())
        found = prepare(spec, store=EnvStore(Path(sys.argv[1])))
        print(found.key, found.reused)
    """
    again = subprocess.run(
        [sys.executable, "-c", code, store.home, *spec.requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.stdout.strip() == f"{built.key} True", again.stderr


def test_the_key_follows_content_not_names_or_places(store: EnvStore, tmp_path: Path) -> None:
    def key(*lines: str, **fields: object) -> str:
        spec = EnvSpec(requirements=("--no-index", *lines), **{"build_requirements": (), **fields})  # type: ignore[arg-type]
        return describe(spec, store=store).key

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "requirements.txt").write_text("apple==1.0\nbanana")
    included = key("-r requirements.txt", base_dir=tmp_path / "model")
    assert included == key("banana", "Apple == 1.0")
    changed = [
        key("apple==1.0"),
        key("apple==2.0", "banana"),
        key("apple==1.0", "banana", "-c limits", base_dir=_limits(tmp_path)),
        key("apple==1.0", "banana", server_requirements=("cherry",)),
        key("apple==1.0", "banana", as_of="2020-01-01"),
        key("apple==1.0", "banana", "--extra-index-url https://other/simple"),
        key("apple==1.0", "banana", copied_packages=(tmp_path / "model",)),
    ]
    assert len({included, *changed}) == 1 + len(changed)


def _limits(folder: Path) -> Path:
    (folder / "limits").write_text("cherry<2")
    return folder


def test_what_the_model_pins_wins_over_server_and_build_requirements(
    store: EnvStore, local_spec: LocalSpec
) -> None:
    spec = local_spec(
        "apple==1.0", server_requirements=("apple>=2",), build_requirements=("Apple==2.0", "cherry")
    )
    assert prepare(spec, store=store).packages == {"apple": "1.0", "cherry": "1.0"}


def test_copied_packages_are_importable(
    store: EnvStore, local_spec: LocalSpec, tmp_path: Path
) -> None:
    package = tmp_path / "server_code"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("answer = 42")
    (package / "__pycache__" / "old.pyc").write_text("")
    built = prepare(local_spec("apple", copied_packages=(package,)), store=store)
    assert output_of(built.python, "import server_code as s; print(s.answer)") == "42"


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("nonesuch", "nonesuch was not found"),
        ("apple==9", "there is no version of apple==9"),
        ("apple==1.0\napple==2.0", "conflict|apple==1.0"),
    ],
)
def test_a_failed_build_says_why_and_leaves_nothing(
    store: EnvStore, local_spec: LocalSpec, requirement: str, words: str
) -> None:
    with pytest.raises(EnvError, match=words) as caught:
        prepare(local_spec(*requirement.splitlines()), store=store)
    error = caught.value
    assert "\n" not in error.message
    assert error.hint
    assert error.log_path is not None
    assert "uv pip compile" in error.log_path.read_text()
    assert entries(store) == []
    assert prune(store) == []
    assert [path for path in store.home.rglob("*.log") if path.stem != "discovery"] == []


def test_an_interrupted_build_leaves_nothing(store: EnvStore, local_spec: LocalSpec) -> None:
    def interrupt(message: str) -> None:
        if message.startswith("installing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(local_spec("apple"), store=store, report=interrupt)
    assert entries(store) == []
    assert not prepare(local_spec("apple"), store=store).reused


@pytest.mark.parametrize("damage", ["site-packages", "package", "python", "manifest", "truncated"])
def test_damage_is_noticed_before_use_and_mended(
    store: EnvStore, local_spec: LocalSpec, at_hand: AtHand, damage: str
) -> None:
    built = at_hand("apple")
    with built.in_use():
        pass
    (site_packages,) = built.path.glob("lib/*/site-packages")
    manifest = store.folder(built.key) / "manifest.json"
    if damage == "site-packages":
        shutil.rmtree(site_packages)
    elif damage == "package":
        shutil.rmtree(site_packages / "apple-2.0.dist-info")
    elif damage == "python":
        built.python.unlink()
    elif damage == "manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:100])
    said: list[str] = []
    mended = prepare(local_spec("apple"), store=store, report=said.append)
    assert not mended.reused
    assert output_of(mended.python, "import apple; print(apple.__version__)") == "2.0"
    if damage == "package":
        assert said[0].endswith("apple-2.0.dist-info is gone from its site-packages")


def test_a_missing_base_python_is_noticed(store: EnvStore, at_hand: AtHand, tmp_path: Path) -> None:
    built = at_hand("apple")
    base = tmp_path / "uninstalled" / "python"
    built.python.unlink()
    built.python.symlink_to(base)
    assert store.find(built.key) is None
    (entry,) = entries(store)
    assert entry.state == "damaged: its Python is gone"


def test_one_in_use_is_neither_removed_nor_pruned(store: EnvStore, at_hand: AtHand) -> None:
    built = at_hand("apple")
    with built.in_use():
        assert entries(store)[0].users == (os.getpid(),)
        with pytest.raises(EnvError, match=f"is used by process {os.getpid()}"):
            remove(store, built.key)
        assert prune(store, older_than=0, max_size=0) == []
    assert entries(store)[0].users == ()
    removed = prune(store, older_than=0)
    assert [removal.name for removal in removed] == [built.key]
    leftovers = [str(p) for p in store.root.rglob("*") if p.is_file()]
    assert leftovers == []


def test_the_mark_of_a_killed_user_vanishes_but_a_childs_stays(
    store: EnvStore, at_hand: AtHand, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    built = at_hand("apple")
    with built.in_use():
        pass
    user = run_python(
        """
        import subprocess, sys, time
        from pathlib import Path
        from envs import EnvStore
        found = EnvStore(Path(sys.argv[1])).find(sys.argv[2])
        with found.in_use() as mark:
            code = "import sys; sys.stdin.read()"
            child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[mark],
                                     stdin=0, stdout=subprocess.DEVNULL)
            print(child.pid, flush=True)
            time.sleep(600)
        """,
        store.home,
        built.key,
    )
    assert user.stdout is not None
    child = int(user.stdout.readline())
    try:
        user.kill()
        user.wait()
        assert entries(store)[0].users == (user.pid,)  # the child inherited it
        assert prune(store, older_than=0) == []
    finally:
        os.kill(child, 9)
    deadline = time.monotonic() + 10
    while entries(store)[0].users and time.monotonic() < deadline:
        os.sched_yield()
    assert [removal.name for removal in prune(store, older_than=0)] == [built.key]


def test_prune_finds_what_dead_builds_and_removals_left(store: EnvStore, at_hand: AtHand) -> None:
    built = at_hand("apple")
    dead = store.root / "0123456789abcdef0123"
    (dead / "env" / "lib").mkdir(parents=True)
    (dead / "env" / "lib" / "file").write_text("x" * 10000)
    (store.root / ".trash" / "feed-1").mkdir(parents=True)
    (store.root / ".locks" / "nothing").touch()
    assert {e.key: e.state for e in entries(store)}[dead.name] == "unfinished"
    would = prune(store, dry_run=True)
    assert {removal.name for removal in would} == {dead.name, "feed-1"}
    assert dead.exists()
    assert prune(store) == would
    assert not dead.exists()
    assert [path.name for path in (store.root / ".locks").iterdir()] == [built.key]
    assert store.find(built.key) is not None


def test_a_running_build_is_listed_and_left_alone(store: EnvStore) -> None:
    key = "0123456789abcdef0123"
    (store.folder(key) / "env").mkdir(parents=True)
    with try_exclusive(store.lock_path(key)) as locked:
        assert locked
        assert entries(store)[0].state == "building"
        with pytest.raises(EnvError, match="is being built"):
            remove(store, key)
        assert prune(store, older_than=0, max_size=0) == []
    assert store.folder(key).exists()


def test_the_least_recently_used_go_first_when_the_cache_is_too_large(
    store: EnvStore, at_hand: AtHand
) -> None:
    ages = {"apple": 300, "cherry": 200, "banana": 100}
    keys = {}
    for name, age in ages.items():
        built = at_hand(name)
        with built.in_use():
            keys[name] = built.key
        used = time.time() - age
        os.utime(store.folder(built.key), (used, used))
    listed = entries(store)
    assert [entry.key for entry in listed] == [keys[n] for n in ("banana", "cherry", "apple")]
    removed = prune(store, max_size=total_size(listed[:1]))
    assert [removal.name for removal in removed] == [keys["apple"], keys["cherry"]]


def test_files_that_environments_share_are_counted_once(store: EnvStore) -> None:
    for key in ("a" * 20, "b" * 20):
        store.folder(key).mkdir(parents=True)
    big = store.folder("a" * 20) / "big"
    big.write_bytes(b"x" * 100_000)
    os.link(big, store.folder("b" * 20) / "big")
    listed = entries(store)
    assert [entry.size >= 100_000 for entry in listed] == [True, True]
    assert total_size(listed) == listed[0].size


def test_a_key_may_be_abbreviated_if_that_is_unambiguous(store: EnvStore) -> None:
    for key in ("abc1", "abc2"):
        store.folder(key).mkdir(parents=True)
    assert resolve_key(store, "abc1") == "abc1"
    with pytest.raises(EnvError, match="abc is the beginning of 2 keys"):
        resolve_key(store, "abc")
    with pytest.raises(EnvError, match="There is no environment x"):
        resolve_key(store, "x")


def test_a_clock_that_jumps_does_not_remove_or_rebuild(
    store: EnvStore, local_spec: LocalSpec, at_hand: AtHand
) -> None:
    built = at_hand("apple")
    with built.in_use():
        pass
    future = time.time() + 10 * 365 * 86400
    os.utime(store.folder(built.key), (future, future))
    assert prune(store, older_than=86400) == []
    assert prepare(local_spec("apple"), store=store).reused


def test_no_credential_is_written_anywhere(
    store: EnvStore, local_spec: LocalSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_PASSWORD", "sesame-1234")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    lines = (
        "--extra-index-url https://someone:${INDEX_PASSWORD}@127.0.0.1:9/simple",
        "--extra-index-url https://other:hunter22@127.0.0.1:9/simple",
    )
    prepare(local_spec("apple", *lines), store=store)
    with pytest.raises(EnvError) as caught:
        prepare(
            replace(
                local_spec(),
                requirements=("apple @ https://someone:sesame-1234@127.0.0.1:9/apple-1.0.zip",),
            ),
            store=store,
        )
    written = "".join(
        path.read_text(errors="replace")
        for path in store.home.rglob("*")
        if path.is_file() and "site-packages" not in path.parts
    )
    for text in (written, str(caught.value)):
        assert "sesame-1234" not in text
        assert "hunter22" not in text
    assert "127.0.0.1:9/simple" in written


def test_the_manifest_has_the_resolved_list_with_hashes(
    store: EnvStore, local_spec: LocalSpec
) -> None:
    built = prepare(local_spec("banana"), store=store)
    manifest = json.loads((store.folder(built.key) / "manifest.json").read_text())
    assert "banana==1.0 \\\n    --hash=sha256:" in manifest["resolved"]
    assert manifest["as_of"] == "today"
    assert manifest["inputs"]["requirements"] == ["banana"]


def test_a_read_only_cache_is_used_and_a_missing_environment_named(
    store: EnvStore, local_spec: LocalSpec, at_hand: AtHand
) -> None:
    """Root writes everywhere but into a read-only mount, so a private one is made."""
    built = at_hand("apple")
    code = f"""if True:
        from pathlib import Path
        from envs import EnvError, Environment, EnvSpec, EnvStore, prepare
        store = EnvStore(Path({str(store.home)!r}))
        lines = {local_spec("apple").requirements!r}
        found = prepare(EnvSpec(requirements=lines, build_requirements=()), store=store)
        with found.in_use() as mark:
            print(found.key, found.reused, mark)
        try:
            prepare(EnvSpec(requirements=lines, build_requirements=("cherry",)), store=store)
        except EnvError as error:
            print(error.message)
    """
    mounted = (
        f'mount --bind "{store.home}" "{store.home}" && mount -o remount,ro,bind "{store.home}"'
    )
    script = f'{mounted} && exec "{sys.executable}" -c "$0"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, code]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: apt-get install util-linux")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip(f"no private mounts on this machine, run as root: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert first == f"{built.key} True None"
    assert second.endswith("which cannot be written to.")


def test_read_only_folders_in_an_environment_do_not_keep_it_from_being_removed(
    store: EnvStore,
) -> None:
    """In a user namespace, where root has lost the right to pass over permissions."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: apt-get install util-linux")
    locked = store.folder("0123456789abcdef0123") / "env" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    locked.chmod(0o500)
    code = f"""if True:
        import os, sys
        from pathlib import Path
        from envs.disk.files import remove_tree
        try:
            os.unlink({str(locked / "file")!r})
            sys.exit("permissions do not count here")
        except PermissionError:
            remove_tree(Path({str(store.root)!r}))
    """
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no user namespaces on this machine, run as root: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert not store.root.exists()


def test_the_home_is_this_users_alone(tmp_path: Path, local_spec: LocalSpec) -> None:
    before = os.umask(0)  # the modes do not hang on it
    try:
        store = EnvStore(tmp_path / "above" / "home")
        built = prepare(local_spec("apple"), store=store)
        with built.in_use():
            made = [store.home.parent, store.home, store.root, store.folder(built.key)]
            made += [store.lock_path("").parent, store.users_folder(built.key)]
            made += [store.build_log("").parent]
            assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}
            files = [store.lock_path(built.key), store.folder(built.key) / "manifest.json"]
            files += store.users_folder(built.key).iterdir()
            files += store.build_log("").parent.iterdir()
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    finally:
        os.umask(before)


def test_a_lock_is_not_made_through_a_link(store: EnvStore, tmp_path: Path) -> None:
    store.lock_path("").mkdir(parents=True)
    store.lock_path("key").symlink_to(tmp_path / "planted")
    with pytest.raises(OSError, match="symbolic links"), store.try_locked("key"):
        pass
    assert not (tmp_path / "planted").exists()
