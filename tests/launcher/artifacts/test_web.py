"""Models on web servers, and how downloads fare when servers and networks misbehave."""

from __future__ import annotations

import functools
import http.server
import os
import random
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from launcher.artifacts import ModelURIError, resolve_model
from tests.launcher.artifacts import servers
from tests.launcher.artifacts.servers import (
    Files,
    FilesWithoutRanges,
    FilesWithoutValidators,
    serve_files,
)

pytestmark = pytest.mark.usefixtures("home")

MLMODEL = b"flavors:\n  python_function:\n    loader_module: m\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder to serve, with a model in `my model`: 12 files, 3 MB, names that need encoding."""
    model = tmp_path / "site" / "my model"
    (model / "data" / "deep er").mkdir(parents=True)
    (model / "MLmodel").write_bytes(MLMODEL)
    noise = random.Random(0)
    for number in range(10):
        (model / "data" / f"part {number}#%.bin").write_bytes(noise.randbytes(300_000))
    (model / "data" / "deep er" / "empty").write_bytes(b"")
    return tmp_path / "site"


@pytest.mark.parametrize("handler", [Files, FilesWithoutRanges, FilesWithoutValidators])
def test_a_folder_on_a_web_server(site: Path, handler: type[Files]) -> None:
    with serve_files(site, handler) as server:
        for uri in (f"{server.url}/my%20model", f"{server.url}/my%20model/"):
            found = resolve_model(uri)
            assert contents(found.path) == contents(site / "my model")
            assert not found.immutable


def test_pythons_own_web_server(site: Path) -> None:
    """One that is not made for these tests: python -m http.server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Print nothing."""

    handler = functools.partial(Quiet, directory=str(site))
    with servers.running(servers.Counted(handler)) as server:
        found = resolve_model(f"{server.url}/my%20model")
        assert contents(found.path) == contents(site / "my model")


def test_a_folder_is_transferred_again_only_when_it_has_changed(site: Path) -> None:
    with serve_files(site) as server:
        uri = f"{server.url}/my%20model"
        first = resolve_model(uri)
        sent = server.bytes_sent
        assert sent > 3_000_000
        assert resolve_model(uri) == first
        assert server.bytes_sent - sent < 1000
        (site / "my model" / "data" / "new").write_bytes(b"new")
        second = resolve_model(uri)
        assert second.revision != first.revision
        assert contents(second.path) == contents(site / "my model")
        assert "data/new" not in contents(first.path)


@pytest.mark.parametrize("query", ["", "?X-Amz-Signature=secret"])
def test_an_archive_on_a_web_server(site: Path, query: str, home: Path) -> None:
    with tarfile.open(site / "a.tar.gz", "w:gz") as archive:
        archive.add(site / "my model", "my model")
    os.link(site / "a.tar.gz", site / "download")
    with serve_files(site) as server:
        for name in ("a.tar.gz", "download"):
            found = resolve_model(f"{server.url}/{name}{query}")
            assert contents(found.path) == contents(site / "my model")
            sent = server.bytes_sent
            assert resolve_model(f"{server.url}/{name}{query}").path == found.path
            # Asked for once more, but not read to the end.
            assert server.bytes_sent - sent < 2 * (site / name).stat().st_size + 1000
            assert "secret" not in found.uri
    assert not any(b"secret" in path.read_bytes() for path in home.rglob("*.json"))


def test_credentials_in_a_url_are_used_and_not_shown(site: Path, home: Path) -> None:
    with serve_files(site) as server:
        address = server.url.partition("//")[2]
        lines: list[str] = []
        found = resolve_model(f"http://me:se%20cret@{address}/my%20model", report=lines.append)
        # "me:se cret"
        assert {seen.get("Authorization") for seen in server.headers_seen} == {
            "Basic bWU6c2UgY3JldA=="
        }
    shown = [found.uri, *lines, *(path.read_text() for path in home.rglob("*.json"))]
    assert not any("cret" in text for text in shown)


@pytest.mark.parametrize("seed", range(3))
def test_a_download_cut_at_twenty_random_points_ends_the_same(site: Path, seed: int) -> None:
    with serve_files(site) as server:
        proxy = servers.CuttingProxy(server.url, 20, 150_000, seed)
        with servers.running(proxy):
            found = resolve_model(f"{proxy.url}/my%20model")
            assert proxy.cuts_left <= 0
        assert contents(found.path) == contents(site / "my model")
        # Gone on with, not begun again: nearly every byte (and some headers) came once.
        assert proxy.bytes_passed < 3_000_000 + 20 * 16_384
        assert any("Range" in seen for seen in server.headers_seen)


def test_a_proxy_that_fails_every_third_request(site: Path) -> None:
    with serve_files(site) as server, servers.failing_proxy(server.url) as proxy:
        found = resolve_model(f"{proxy.url}/my%20model")
        assert contents(found.path) == contents(site / "my model")


def test_ten_processes_make_one_transfer(site: Path) -> None:
    """Forked from one that has imported everything, which takes them longer than the transfer."""
    code = """if True:
        import os, sys, requests
        from launcher.artifacts import resolve_model, resolving
        children = []
        for _ in range(10):
            children.append(os.fork())
            if not children[-1]:
                os.write(1, f"{resolve_model(sys.argv[1]).path}\\n".encode())
                os._exit(0)
        sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
    """
    with serve_files(site) as server:
        command = [sys.executable, "-c", code, f"{server.url}/my%20model"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        fetched = [path for method, path in server.requests if method == "GET" and ".bin" in path]
    paths = done.stdout.splitlines()
    assert len(paths) == 10
    assert len(set(paths)) == 1
    assert len(fetched) == len(set(fetched)) == 10
    assert contents(Path(paths[0])) == contents(site / "my model")


def test_a_killed_download_goes_on_where_it_was(site: Path, home: Path) -> None:
    (site / "my model" / "big.bin").write_bytes(random.Random(1).randbytes(4_000_000))
    code = (
        "import os, sys; from launcher.artifacts import resolve_model\n"
        "from launcher.artifacts.transfer import download\n"
        "class Dying(download.Part):\n"
        "    def append(self, block):\n"
        "        super().append(block)\n"
        "        if self.size > 3_000_000: os.kill(os.getpid(), 9)\n"
        "download.Part = Dying\n"
        "resolve_model(sys.argv[1])"
    )
    with serve_files(site) as server:
        uri = f"{server.url}/my%20model"
        died = subprocess.run([sys.executable, "-c", code, uri], check=False)
        assert died.returncode == -9
        (partial,) = (home / "models").glob("*/parts")
        assert not list((home / "models").glob("*/manifest.json"))
        sent = server.bytes_sent
        found = resolve_model(uri)
        assert contents(found.path) == contents(site / "my model")
        assert not partial.exists()
        ranges = [seen["Range"] for seen in server.headers_seen if "Range" in seen]
        assert any(int(asked[6:-1]) > 1_000_000 for asked in ranges)
        assert server.bytes_sent - sent < 7_000_000 - 1_000_000


def test_a_file_that_changed_after_the_cut_is_not_put_together_from_two(site: Path) -> None:
    big = site / "my model" / "big.bin"
    big.write_bytes(b"a" * 2_000_000)
    changed = threading.Event()

    class Changing(Files):
        def _send_file(self, path: Path) -> None:
            if path == big and not changed.is_set():
                changed.set()
                self._start(200, path, path.stat().st_size)
                self.wfile.write(b"a" * 1_000_000)
                self.close_connection = True
                big.write_bytes(b"b" * 2_000_000)
                return
            super()._send_file(path)

    with serve_files(site, Changing) as server:
        found = resolve_model(f"{server.url}/my%20model")
    assert (found.path / "big.bin").read_bytes() == b"b" * 2_000_000


def test_a_file_of_another_size_than_announced_is_refused(site: Path, home: Path) -> None:
    class Lying(Files):
        def do_HEAD(self) -> None:
            path = Path(self.translate_path(self.path))
            if path.name == "MLmodel":
                self._start(200, path, path.stat().st_size - 5)
            else:
                super().do_HEAD()

    with (
        serve_files(site, Lying) as server,
        pytest.raises(ModelURIError, match="'MLmodel' has another size"),
    ):
        resolve_model(f"{server.url}/my%20model")
    assert not list((home / "models").glob("*/manifest.json"))


def test_a_model_that_is_too_large_is_refused_before_it_is_fetched(site: Path) -> None:
    with serve_files(site) as server:
        with pytest.raises(ModelURIError, match=r"larger than the allowed 1.0 MB"):
            resolve_model(f"{server.url}/my%20model", max_model_size=1_000_000)
        assert server.bytes_sent < 1000
        assert resolve_model(f"{server.url}/my%20model", max_model_size=4_000_000).path.is_dir()


def test_what_is_no_model_on_a_web_server(site: Path) -> None:
    (site / "page.html").write_text("<html>hello</html>")
    with serve_files(site) as server:
        for path, message in (
            ("/nothing", "There is nothing at"),
            ("/page.html", "neither an archive nor a folder"),
            ("/nothing.zip", "There is nothing at"),
        ):
            with pytest.raises(ModelURIError, match=message):
                resolve_model(server.url + path)


def test_a_folder_without_an_index_is_said(site: Path) -> None:
    class NoIndex(Files):
        def list_directory(self, path: object) -> None:  # type: ignore[override]  # noqa: ARG002
            self.send_error(404)

    with serve_files(site, NoIndex) as server:
        with pytest.raises(ModelURIError, match="shows no list") as error:
            resolve_model(f"{server.url}/my%20model")
        assert ".tar.gz" in error.value.hint


def test_offline_takes_what_was_fetched_before(site: Path) -> None:
    with serve_files(site) as server:
        uri = f"{server.url}/my%20model"
        with pytest.raises(ModelURIError, match="has not been fetched before"):
            resolve_model(uri, offline=True)
        found = resolve_model(uri)
        asked = len(server.requests)
        assert resolve_model(uri, offline=True) == found
        assert len(server.requests) == asked
