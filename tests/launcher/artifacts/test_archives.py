"""Archives: local ones are served from the cache, hostile ones are refused and leave nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from launcher.artifacts import ModelURIError, resolve_model
from launcher.artifacts.transfer.archives import unpack

MLMODEL = b"flavors:\n  python_function:\n    loader_module: m\n"

pytestmark = pytest.mark.usefixtures("home")


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: list[tuple[str, Any]]) -> Path:
    """Write a tar: (name, bytes) a file, (name, (type, target)) a link or something special."""
    with tarfile.open(
        path, "w:" + {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
    ) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def kept(home: Path) -> list[Path]:
    """The files in the cache of models, but for those that are locked."""
    return [p for p in (home / "models").rglob("*") if p.is_file() and p.parent.name != ".locks"]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("top", ["", "my model/"])
def test_a_local_archive(tmp_path: Path, suffix: str, top: str) -> None:
    members = {f"{top}MLmodel": MLMODEL, f"{top}data/x": b"x" * 5000}
    path = tmp_path / f"a b{suffix}"
    (zipped(path, members) if suffix == ".zip" else tarred(path, list(members.items())))
    for uri in (str(path), path.as_uri()):
        found = resolve_model(uri)
        assert (found.path / "MLmodel").read_bytes() == MLMODEL
        assert (found.path / "data" / "x").read_bytes() == b"x" * 5000
    os.utime(path, (1, 1))
    assert resolve_model(str(path)).revision != found.revision


def test_links_inside_of_an_archive_are_kept(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "a.tar",
        [
            ("model/link", (tarfile.SYMTYPE, "data/x")),
            ("model/hard", (tarfile.LNKTYPE, "model/data/x")),
            ("model/MLmodel", MLMODEL),
            ("model/data/x", b"x"),
        ],
    )
    found = resolve_model(str(path))
    assert (found.path / "link").read_bytes() == b"x"
    assert (found.path / "hard").read_bytes() == b"x"


HOSTILE = {
    "parent": [("MLmodel", MLMODEL), ("../evil", b"x")],
    "parent inside": [("MLmodel", MLMODEL), ("a/../../evil", b"x")],
    "absolute": [("MLmodel", MLMODEL), ("/tmp/evil-absolute", b"x")],
    "backslash": [("MLmodel", MLMODEL), ("..\\evil", b"x")],
    "drive": [("MLmodel", MLMODEL), ("C:/evil", b"x")],
    "link out": [("MLmodel", MLMODEL), ("l", (tarfile.SYMTYPE, "../../evil"))],
    "link absolute": [("MLmodel", MLMODEL), ("l", (tarfile.SYMTYPE, "/etc/passwd"))],
    "link to nothing": [("MLmodel", MLMODEL), ("l", (tarfile.SYMTYPE, "nothing"))],
    "link in a circle": [("MLmodel", MLMODEL), ("l", (tarfile.SYMTYPE, "l"))],
    "hard link out": [("MLmodel", MLMODEL), ("l", (tarfile.LNKTYPE, "../../../etc/passwd"))],
    "links through links": [
        ("MLmodel", MLMODEL),
        ("a/b/c/file", b"x"),
        ("up", (tarfile.SYMTYPE, "a/b")),
        ("l", (tarfile.SYMTYPE, "up/../../../..")),
    ],
    "write through a link": [
        ("MLmodel", MLMODEL),
        ("d", (tarfile.SYMTYPE, ".")),
        ("d/file", b"x"),
    ],
    "twice": [("MLmodel", MLMODEL), ("MLmodel", b"other")],
    "device": [("MLmodel", MLMODEL), ("dev", (tarfile.CHRTYPE, ""))],
    "pipe": [("MLmodel", MLMODEL), ("pipe", (tarfile.FIFOTYPE, ""))],
    "file and folder": [("MLmodel", MLMODEL), ("a", b"x"), ("a/b", b"x")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar_is_refused(members: list[Any], tmp_path: Path, home: Path) -> None:
    before = set(tmp_path.iterdir()) | {tmp_path / "bad.tar.gz"}
    with pytest.raises(ModelURIError, match=r"Refused to unpack|cannot be unpacked") as error:
        resolve_model(str(tarred(tmp_path / "bad.tar.gz", members)))
    assert error.value.exit_code == 2
    assert set(tmp_path.iterdir()) - before == {home}
    assert not Path("/tmp/evil-absolute").exists()
    assert kept(home) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused(tmp_path: Path, home: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    pipe = zipfile.ZipInfo("pipe")
    pipe.external_attr = (stat.S_IFIFO | 0o777) << 16
    for number, (name, content) in enumerate(
        [("../evil", b"x"), ("/evil", b"x"), ("a/../../evil", b"x"), (link, b"/etc/passwd"),
         (pipe, b""), ("MLmodel", b"again")]
    ):  # fmt: skip
        path = zipped(tmp_path / f"{number}.zip", {"MLmodel": MLMODEL})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, content)
        with pytest.raises(ModelURIError, match="Refused to unpack"):
            resolve_model(str(path))
    assert not (tmp_path / "evil").exists()
    assert kept(home) == []


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, home: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {"MLmodel": MLMODEL, "zeros": bytes(50_000_000)})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(ModelURIError, match=r"larger than the allowed 10.0 MB") as error:
        resolve_model(str(bomb), max_model_size=10_000_000)
    assert "--max-model-size" in error.value.hint
    assert kept(home) == []
    assert resolve_model(str(bomb), max_model_size=60_000_000).path.is_dir()


def test_what_is_no_archive_or_damaged(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ModelURIError, match="neither a zip nor a tar"):
        resolve_model(str(tmp_path / "text.zip"))
    whole = zipped(tmp_path / "whole.zip", {"MLmodel": os.urandom(5000)}).read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole[:2000] + bytes(100) + whole[2100:])
    with pytest.raises(ModelURIError, match="cannot be unpacked"):
        resolve_model(str(tmp_path / "damaged.zip"))
    tar = tarred(tmp_path / "whole.tar.gz", [("MLmodel", os.urandom(50_000))]).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(tar[:30_000])
    with pytest.raises(ModelURIError, match="cannot be unpacked"):
        resolve_model(str(tmp_path / "cut.tar.gz"))


def test_an_archive_without_a_model_or_with_several(tmp_path: Path) -> None:
    with pytest.raises(ModelURIError, match="no MLflow Model in it"):
        resolve_model(str(zipped(tmp_path / "none.zip", {"readme": b"x"})))
    several = zipped(tmp_path / "several.zip", {"a/MLmodel": MLMODEL, "b/MLmodel": MLMODEL})
    with pytest.raises(ModelURIError, match="more than one model: a, b"):
        resolve_model(str(several))


def test_damage_of_any_kind_is_said_in_words(tmp_path: Path) -> None:
    """Bytes changed at random, checksums of headers mended, so that it is read on."""
    fixed = random.Random(20)
    seeds = [zipped(tmp_path / "a.zip", {"MLmodel": MLMODEL, "d/x": b"x" * 3000}).read_bytes()]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            for name in ("MLmodel", "d" * 120 + "/x"):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 3000, 1.5
                archive.addfile(info, io.BytesIO(b"x" * 3000))
        seeds.append((tmp_path / "a.tar").read_bytes())
    packers = (bytes, gzip.compress, bz2.compress, lzma.compress)
    refused: list[str] = []
    for number in range(300):
        seed = number % len(seeds)
        content = bytearray(seeds[seed])
        for _ in range(fixed.randint(1, 5)):
            place = fixed.randrange(len(content))
            content[place] = fixed.choice([0, 255, *b"SxgLK0125", fixed.randrange(256)])
        for start in range(0, len(content) - 511, 512) if seed else ():
            head = content[start : start + 512]
            if head[257:262] == b"ustar":
                head[148:156] = b" " * 8
                content[start + 148 : start + 156] = b"%06o\0 " % sum(head)
        path, folder = tmp_path / "m", tmp_path / f"{number}"
        path.write_bytes(fixed.choice(packers)(bytes(content)) if seed else content)
        folder.mkdir()
        try:
            unpack(path, folder, "it", 10_000_000)
        except ModelURIError as error:
            refused.append(error.message)
        assert all(p.resolve().is_relative_to(folder) for p in folder.rglob("*"))
    assert 50 < len(refused) < 300
    assert not any("\n" in message for message in refused)
