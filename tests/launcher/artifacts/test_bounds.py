"""What is fed takes no more memory and disk than it may: archives, listings, answers, downloads."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from launcher.artifacts import ModelURIError, resolve_model
from launcher.artifacts.transfer import archives, members
from tests.launcher.artifacts.servers import answering, reply

pytestmark = pytest.mark.usefixtures("home")

MLMODEL = b"flavors:\n  python_function:\n    loader_module: m\n"
BOMB = 400_000_000
"""Bytes that a bomb unpacks to."""
MOST_MEMORY = 250_000_000
"""Bytes that the whole process may take; 45 MB is what it takes for nothing."""


def measured(uri: str, *limit: int) -> tuple[str, int]:
    """Resolve in a process of its own; return the error's message and the most memory it had."""
    code = """if True:
        import sys
        from pathlib import Path
        from launcher.artifacts import ModelURIError, resolve_model
        limit = int(sys.argv[2]) if len(sys.argv) > 2 else None
        try:
            print("resolved", resolve_model(sys.argv[1], max_model_size=limit).path)
        except ModelURIError as error:
            print(error.message)
        # Not getrusage: what it says begins with the memory of the process that forked.
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the most memory that a process had: run on Linux")
    command = [sys.executable, "-c", code, uri, *map(str, limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, kilobytes = done.stdout.splitlines()
    return message, int(kilobytes) * 1024


def disk_used(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def zeros(count: int, level: int = 1) -> Iterator[bytes]:
    """Yield `count` zeros, compressed as gzip does."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    for _ in range(count // 1_000_000):
        yield packer.compress(bytes(1_000_000))
    yield packer.flush()


@pytest.fixture(scope="session")
def gzip_bomb() -> bytes:
    return b"".join(zeros(BOMB))


def record(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def sparse(name: str, size: int) -> bytes:
    """Return a file of `size` bytes that has none but zeros, as GNU tar's old format has it."""
    head = bytearray(record(name, tarfile.GNUTYPE_SPARSE, 0))
    head[257:265] = b"ustar  \0"
    head[345:500] = bytes(155)
    head[483:495] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def zip_link(path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", compresslevel=1) as archive:
        archive.writestr("MLmodel", MLMODEL)
        with archive.open(info, "w") as member:
            for _ in range(BOMB // 1_000_000):
                member.write(bytes(1_000_000))


def many_times(member: bytes, size: int) -> bytes:
    """Return .gz bytes of `member` again and again until there are `size` of them."""
    return gzip.compress(member) * (size // len(member))


def long_header(kind: bytes) -> Callable[[Path], None]:
    """Make an archive with one header of `BOMB` bytes, of that kind."""

    def write(path: Path) -> None:
        first = record("MLmodel", tarfile.REGTYPE, len(MLMODEL)) + padded(MLMODEL)
        start = gzip.compress(first + record("header", kind, BOMB))
        path.write_bytes(start + many_times(b"x" * 1_000_000, BOMB))

    return write


def many_headers(path: Path) -> None:
    """Write members with headers of 60 kB each, which tarfile would keep, every one."""
    text = b"61440 comment=" + b"x" * (61440 - 15) + b"\n"
    member = record("header", tarfile.XHDTYPE, len(text)) + padded(text)
    path.write_bytes(many_times(member + record("folder", tarfile.DIRTYPE, 0), BOMB))


BOMBS = {
    "zip link": (".zip", zip_link),
    "pax header": (".tar.gz", long_header(tarfile.XHDTYPE)),
    "global pax header": (".tar.gz", long_header(tarfile.XGLTYPE)),
    "long name": (".tar.gz", long_header(tarfile.GNUTYPE_LONGNAME)),
    "long link": (".tar.gz", long_header(tarfile.GNUTYPE_LONGLINK)),
    "many headers": (".tar.gz", many_headers),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_no_header_of_an_archive_takes_memory_or_disk(
    kind: str, tmp_path: Path, home: Path
) -> None:
    suffix, write = BOMBS[kind]
    bomb = tmp_path / f"bomb{suffix}"
    write(bomb)
    assert bomb.stat().st_size < 5_000_000
    for limit in ((), (1_000_000,)) if kind in ("zip link", "pax header") else ((),):
        message, memory = measured(str(bomb), *limit)
        assert message.startswith("Refused to unpack"), message
        assert memory < MOST_MEMORY
        assert disk_used(home) < 1_000_000


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_a_sparse_file_fills_no_disk(limit: int | None, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "sparse.tar"
    path.write_bytes(
        record("MLmodel", tarfile.REGTYPE, len(MLMODEL))
        + padded(MLMODEL)
        + sparse("hole", 10**16)
        + bytes(1024)
    )
    expected = "larger than the disk's room" if limit is None else "larger than the allowed 1.0 MB"
    with pytest.raises(ModelURIError, match=expected):
        resolve_model(str(path), max_model_size=limit)
    assert disk_used(home) < 100_000
    path.write_bytes(
        record("MLmodel", tarfile.REGTYPE, len(MLMODEL))
        + padded(MLMODEL)
        + sparse("hole", 100_000)
        + bytes(1024)
    )
    assert (resolve_model(str(path)).path / "hole").read_bytes() == bytes(100_000)


def test_a_zip_packed_by_what_cannot_be_bounded_is_refused(tmp_path: Path) -> None:
    for number, method in enumerate((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("MLmodel", MLMODEL)
        with pytest.raises(ModelURIError, match="not packed by the method deflate"):
            resolve_model(str(path))


def test_an_archive_of_too_many_files_or_folders_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a smaller bound: a hundred thousand files take their time."""
    monkeypatch.setattr(archives, "MOST_MEMBERS", 50)
    for names in ([f"{number}" for number in range(51)], [f"{n}/x/y/z" for n in range(13)]):
        path = tmp_path / "many.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ["MLmodel", *names]:
                archive.writestr(name, MLMODEL)
        with pytest.raises(ModelURIError, match="more than 50 files and folders"):
            resolve_model(str(path))


def test_a_zip_with_too_long_a_list_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number:0200}", b"")
    monkeypatch.setattr(members, "DIRECTORY_LIMIT", 1024 * 1024)
    with pytest.raises(ModelURIError, match="list of files has more than 1 MiB"):
        resolve_model(str(path))


def test_the_memory_for_unpacking_xz_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.tar.xz"
    with tarfile.open(path, "w:xz") as archive:  # a dictionary of 8 MiB
        info = tarfile.TarInfo("MLmodel")
        info.size = len(MLMODEL)
        archive.addfile(info, io.BytesIO(MLMODEL))
    assert resolve_model(str(path)).path.is_dir()
    os.utime(path, (1, 1))
    monkeypatch.setattr(members, "XZ_MEMORY", 4 * 1024 * 1024)
    with pytest.raises(ModelURIError, match="Memory usage limit"):
        resolve_model(str(path))


NAMES = {
    "deep": "/".join(["d"] * 40),
    "deep beyond recursion": "/".join(["d"] * 3000),
    "long": "n" * 300,
    "long in bytes": "ü" * 200,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_no_disk_can_have_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("MLmodel", MLMODEL)
            archive.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as packed:
            packed.addfile(tarfile.TarInfo("MLmodel"))
            packed.addfile(tarfile.TarInfo(name))
    with pytest.raises(ModelURIError, match="too long, or in too many folders"):
        resolve_model(str(path))


def test_a_chain_of_headers_is_no_traceback(tmp_path: Path) -> None:
    """tarfile reads a header that follows a header by calling itself."""
    link = record("././@LongLink", tarfile.GNUTYPE_LONGNAME, 0)
    path = tmp_path / "m.tar"
    path.write_bytes(record("MLmodel", tarfile.REGTYPE, 0) + link * 100_000)
    with pytest.raises(ModelURIError, match=r"Refused to unpack|cannot be unpacked"):
        resolve_model(str(path))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_tar_that_ends_where_no_tar_ends_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in ("MLmodel", "data"):
            info = tarfile.TarInfo(name)
            info.size = 512
            archive.addfile(info, io.BytesIO(bytes(range(256)) * 2))
    content = whole.getvalue()
    path = tmp_path / f"cut{suffix}"
    garbage = content[:2048] + b"\x01" * 512 + bytes(1024)
    # Cut at the border of two members, before the end, within a header, within contents.
    for number, cut in enumerate((content[:1024], content[:2048], content[:1300], content[:1800],
                                  garbage)):  # fmt: skip
        path.write_bytes(PACKERS[suffix](cut))
        os.utime(path, (number, number))
        with pytest.raises(ModelURIError, match="cannot be unpacked"):
            resolve_model(str(path))
    path.write_bytes(PACKERS[suffix](content))
    assert (resolve_model(str(path)).path / "data").stat().st_size == 512


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inner", b"x")
    path = tmp_path / "m.tar"
    path.write_bytes(
        b"".join(
            record(name, tarfile.REGTYPE, len(content)) + padded(content)
            for name, content in (("MLmodel", MLMODEL), ("data.zip", inner.getvalue()))
        )
        + bytes(1024)
    )
    assert (resolve_model(str(path)).path / "data.zip").read_bytes() == inner.getvalue()


def encoded(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Encoding": "gzip", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize("kind", ["answer", "error", "redirect", "index", "MLmodel"])
def test_an_answer_that_unpacks_to_hundreds_of_megabytes(
    kind: str, gzip_bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if kind == "answer":
            encoded(handler, 200, gzip_bomb)
        elif kind == "error":
            encoded(handler, 400, gzip_bomb)
        elif kind == "redirect" and "again" not in handler.path:
            encoded(handler, 302, gzip_bomb, Location="/again")
        elif kind == "index" and handler.path == "/m/MLmodel":
            reply(handler, 200, MLMODEL, "text/plain")
        elif kind == "index":
            encoded(handler, 200, gzip_bomb)
        elif handler.path == "/m/":
            reply(handler, 200, b'<a href="MLmodel">', "text/html")
        elif kind == "MLmodel" and handler.path == "/m/MLmodel":
            encoded(handler, 200, gzip_bomb)
        else:
            reply(handler, 404, b"{}", "application/json")

    with answering(answer) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        folder = kind in ("index", "MLmodel")
        message, memory = measured(f"{server.url}/m" if folder else "models:/a/1")
    assert memory < MOST_MEMORY
    if kind in ("answer", "index", "MLmodel"):
        assert "is longer than" in message
    else:
        assert "The server at" in message


def test_an_archive_of_unknown_length_stops_at_the_limit(home: Path) -> None:
    """It is sent for ever; the test ends because the transfer does."""
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(os.urandom(65536))
            sent += 65536

    with answering(answer) as server, pytest.raises(ModelURIError, match=r"allowed 1\.0 MB"):
        resolve_model(f"{server.url}/m.zip", max_model_size=1_000_000)
    assert disk_used(home) < 4_000_000
    assert sent < 50_000_000


def test_an_encoded_file_is_decoded_and_a_strange_encoding_refused() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("MLmodel", MLMODEL)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        strange = handler.path.startswith("/strange")
        headers = {"Content_Encoding": "br"} if strange else {}
        handler.close_connection = True
        encoded(handler, 200, gzip.compress(content.getvalue()), **headers)

    with answering(answer) as server:
        found = resolve_model(f"{server.url}/m.zip")
        assert (found.path / "MLmodel").read_bytes() == MLMODEL
        with pytest.raises(ModelURIError, match="encoding"):
            resolve_model(f"{server.url}/strange.zip")


def refused_listing(page: str, files: dict[str, Any] | None = None) -> ModelURIError:
    """Return what is said of a web folder with this index page for each folder."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/"):
            reply(handler, 200, page.encode(), "text/html")
        elif handler.path.endswith("/MLmodel") or files is None:
            reply(handler, 200, MLMODEL, "text/plain")
        else:
            reply(handler, 404, b"", "text/plain")

    with answering(answer) as server, pytest.raises(ModelURIError) as error:
        resolve_model(f"{server.url}/m")
    assert len(server.requests) < 1000
    return error.value


@pytest.mark.parametrize(
    "link",
    ["%2e%2e/", "%2e%2e%2fevil", "a%2fb", "a%00b", "a%5cb", "%2e/", "n" * 300, "folder/"],
)
def test_an_odd_index_page_is_refused(link: str, home: Path) -> None:
    error = refused_listing(f'<a href="MLmodel">m</a><a href="{link}">x</a>')
    assert error.message.startswith("Refused: "), error.message
    assert disk_used(home) < 100_000


def test_links_to_other_places_are_no_files_of_a_folder() -> None:
    links = ["http://elsewhere.invalid/m/file", "//elsewhere.invalid/m/file", "/other", "../up",
             "?C=N;O=D", "file?x=1", "#here", "http://[", "mailto:a@b", "/m/"]  # fmt: skip
    page = "".join(f'<a href="{link}">' for link in ["MLmodel", *links])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        is_index = handler.path == "/m/"
        reply(handler, 200, page.encode() if is_index else MLMODEL, "text/html")

    with answering(answer) as server:
        found = resolve_model(f"{server.url}/m")
    assert [path.name for path in found.path.rglob("*")] == ["MLmodel"]


def test_an_index_of_folders_without_end_is_refused() -> None:
    """Two in each: no depth that is allowed would ever end."""
    links = "".join(f'<a href="{n}/">' for n in range(400))
    assert "too many" in refused_listing(f'<a href="MLmodel">{links}').message


@pytest.mark.parametrize(
    "answered",
    ["[]", "5", '{"files": 5}', '{"files": [1]}', '{"files": [{}]}', '{"files": [{"path": 5}]}',
     '{"files": [{"path": "MLmodel", "file_size": "x"}]}', "[" * 100_000,
     '{"run": {}}', '{"run": {"info": []}}', '{"model_version": {"version": "x"}}'],
)  # fmt: skip
@pytest.mark.parametrize("uri", ["mlflow-artifacts:/1", "runs:/r/model", "models:/a/1",
                                 "models:/m-1", "models:/a@b", "models:/a/latest"])  # fmt: skip
def test_an_answer_of_another_form_is_said(
    answered: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(lambda h: reply(h, 200, answered.encode(), "application/json")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(ModelURIError) as error:
            resolve_model(uri)
    assert "\n" not in error.value.message


def test_pages_without_end_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.artifacts.tracking.rest.MOST_PAGES", 5)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        info = {"status": "FINISHED", "artifact_uri": "mlflow-artifacts:/1/r"}
        content = {"run": {"info": info}, "models": [], "next_page_token": "more"}
        reply(handler, 200, json.dumps(content).encode(), "application/json")

    with answering(answer) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(ModelURIError, match="no file MLmodel"):
            resolve_model("runs:/r/model")
    assert len(server.requests) < 10


def test_the_same_run_on_two_servers_is_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same run id, end time and location, as copies of a database have them; other files."""

    def tracking(text: bytes) -> Any:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            if "runs/get" in handler.path:
                info = {"run_id": "r", "experiment_id": "1", "status": "FINISHED", "end_time": 7,
                        "artifact_uri": "mlflow-artifacts:/1/r/artifacts"}  # fmt: skip
                content = json.dumps({"run": {"info": info}}).encode()
            elif "artifacts?path" in handler.path:
                files = {"files": [{"path": "MLmodel", "file_size": len(text)}]}
                content = json.dumps(files).encode()
            elif "artifacts/1/r" in handler.path:
                content = text
            else:
                content = b"{}"
            reply(handler, 200, content, "application/json")

        return answering(answer)

    with tracking(MLMODEL + b"# A\n") as first, tracking(MLMODEL + b"# B\n") as second:
        for server, sign in ((second, b"# B\n"), (first, b"# A\n"), (second, b"# B\n")):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
            for offline in (False, True):
                found = resolve_model("runs:/r/model", offline=offline)
                assert (found.path / "MLmodel").read_bytes().endswith(sign)
            found = resolve_model("mlflow-artifacts:/1/r/artifacts/model")
            assert (found.path / "MLmodel").read_bytes().endswith(sign)


def test_a_query_that_chooses_the_file_is_told_apart_offline() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("MLmodel", MLMODEL + handler.path[-1].encode())
        reply(handler, 200, content.getvalue(), "application/zip")

    with answering(answer) as server:
        for number in "12":
            resolve_model(f"{server.url}/m.zip?id={number}")
        for number in "12":
            found = resolve_model(f"{server.url}/m.zip?id={number}", offline=True)
            assert (found.path / "MLmodel").read_text()[-1] == number


def test_a_file_name_in_a_url_leads_nowhere_else(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("MLmodel", MLMODEL)
    with answering(lambda h: reply(h, 200, content.getvalue(), "application/zip")) as server:
        for name in ("x%2F..%2F..%2F..%2F..%2Fevil.zip", "..%2Fevil.zip"):
            assert resolve_model(f"{server.url}/{name}").path.is_dir()
    assert not list(tmp_path.rglob("evil*"))
