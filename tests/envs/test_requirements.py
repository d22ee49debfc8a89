"""Requirements files, flattened as pip reads them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envs import EnvError
from envs.pip.requirements_file import LARGEST, LONGEST, MOST_INCLUDES, flatten


def test_includes_are_read_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("apple==1\n-r b.txt\n-c limits.txt\n")
    (tmp_path / "more" / "b.txt").write_text("-r a.txt\nbanana  # the other one\n")
    (tmp_path / "more" / "limits.txt").write_text("cherry<2\n")
    found = flatten(["-r more/a.txt", "date"], tmp_path, {})
    assert found.lines == ("apple==1", "banana", "date")
    assert found.constraints == ("cherry<2",)


def test_comments_continuations_and_byte_order_marks(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# all\n\napple \\\n  >=1\n", encoding="utf-8-sig")
    lines = ["-r r.txt", "pkg @ https://h/p.zip#subdirectory=x # why"]
    found = flatten(lines, tmp_path, {})
    assert [" ".join(line.split()) for line in found.lines] == [
        "apple >=1",
        "pkg @ https://h/p.zip#subdirectory=x",
    ]


def test_index_options_are_collected_and_paths_made_absolute(tmp_path: Path) -> None:
    lines = [
        "--index-url https://one/simple",
        "--extra-index-url=https://two/simple --trusted-host two",
        "-f wheels",
        "--no-binary :all:",
        "--only-binary=numpy,scipy",
        "--pre",
    ]
    indexes = flatten(lines, tmp_path, {}).indexes
    assert indexes.index_url == "https://one/simple"
    assert indexes.extra_index_urls == ("https://two/simple",)
    assert indexes.trusted_hosts == ("two",)
    assert indexes.find_links == (str(tmp_path / "wheels"),)
    assert (indexes.no_binary, indexes.only_binary) == ((":all:",), ("numpy", "scipy"))
    assert indexes.pre
    assert not indexes.no_index


def test_pips_variables_count_and_the_files_options_win() -> None:
    environ = {
        "PIP_INDEX_URL": "https://env/simple",
        "PIP_EXTRA_INDEX_URL": "https://a https://b",
        "PIP_FIND_LINKS": "/links",
    }
    indexes = flatten(["--extra-index-url https://c"], None, environ).indexes
    assert indexes.index_url == "https://env/simple"
    assert indexes.extra_index_urls == ("https://c", "https://a", "https://b")
    assert indexes.find_links == ("/links",)
    assert flatten(["-i https://file"], None, environ).indexes.index_url == "https://file"


def test_variables_are_filled_in_and_unknown_ones_left() -> None:
    found = flatten(["apple==${VERSION}", "b @ https://h/${NOPE}/b.zip"], None, {"VERSION": "3"})
    assert found.lines == ("apple==3", "b @ https://h/${NOPE}/b.zip")


def test_no_credential_reaches_the_canonical_form() -> None:
    lines = [
        "--index-url https://user:pass%40word@host/simple",
        "--extra-index-url https://${INDEX_TOKEN}@two/simple",
        "a @ git+https://someone:hunter22@git.host/a@v1",
        "b @ https://host/${INDEX_TOKEN}/b.zip",
    ]
    environ = {"INDEX_TOKEN": "sesame-1234", "UV_INDEX": "https://me:letmein@three/simple"}
    found = flatten(lines, None, environ)
    canonical = repr((found.canonical, found.indexes.canonical(environ)))
    for secret in ("user", "pass%40word", "pass@word", "sesame", "hunter22", "letmein"):
        assert secret not in canonical
    assert "https://host/simple" in canonical
    assert "git+https://git.host/a@v1" in canonical
    assert {"pass@word", "pass%40word", "sesame-1234", "hunter22"} <= found.secrets
    # What is installed from still has them.
    assert found.indexes.index_url == "https://user:pass%40word@host/simple"


def test_credentials_do_not_change_the_canonical_form() -> None:
    def canonical(credentials: str) -> object:
        lines = [f"-i https://{credentials}host/s", f"a @ https://{credentials}host/a.zip"]
        found = flatten(lines, None, {})
        return found.canonical, found.indexes.canonical({})

    assert canonical("me:old@") == canonical("me:new-password@") == canonical("")


def test_local_wheels_count_by_content_wherever_they_lie(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    one = make_wheel(tmp_path / "one", "apple")
    two = make_wheel(tmp_path / "two" / "deeper", "apple")
    lines = ["./apple-1.0-py3-none-any.whl[extra] ; python_version > '3'"]
    first = flatten(lines, one.parent, {})
    second = flatten(lines, two.parent, {})
    assert first.canonical == second.canonical
    assert first.lines == (f"apple[extra] @ {one.as_uri()} ; python_version > '3'",)
    make_wheel(two.parent, "apple", code="changed = 1")
    assert flatten(lines, two.parent, {}).canonical != first.canonical


def test_a_wheel_below_the_folder_is_found_as_mlflow_names_it(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    wheel = make_wheel(tmp_path / "wheels", "apple")
    found = flatten([f"wheels/{wheel.name}"], tmp_path, {})
    assert found.lines == (f"apple @ {wheel.as_uri()}",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-r gone.txt", r"include gone.txt\. .*gone.txt cannot be read: No such file"),
        ("./gone.whl", "name ./gone.whl, which is not there"),
        ("--make-coffee", "have an option that is not understood: --make-coffee"),
        ("-r https://host/r.txt", "is not a local file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(EnvError, match=words):
        flatten([line], tmp_path, {})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder, beside which there is a file of secrets."""
    (tmp_path / "secrets.txt").write_text("apple==1\n")
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


@pytest.mark.parametrize(
    "line",
    [
        "-r ../secrets.txt",
        "-c ../secrets.txt",
        "-r /etc/passwd",
        "-r file:///etc/passwd",
        "-r link.txt",
        "-r ~/secrets.txt",
        "x @ file:///usr",
        "x @ FILE:///usr",
        "x @ git+file:///usr",
        "x@git+file:///usr",
        "./../secrets.txt",
        "-e ..",
        "-f /usr",
        "--find-links=file:///usr",
        "-i file:///usr/simple",
        "-i /usr/simple",
        "--extra-index-url file:///usr/simple",
    ],
)
def test_nothing_outside_of_the_model_is_read(model: Path, line: str) -> None:
    (model / "link.txt").symlink_to("../secrets.txt")
    with pytest.raises(EnvError, match=r"which is outside of the model's folder\.") as raised:
        flatten([line], model, {})
    assert raised.value.hint == "Put a copy into the model's folder and name that."


def test_what_the_user_sets_may_lie_anywhere(model: Path) -> None:
    assert flatten([], model, {"PIP_FIND_LINKS": "/links"}).indexes.find_links == ("/links",)
    secrets = model.parent / "secrets.txt"
    assert flatten([f"-r {secrets}"], None, {}).lines == ("apple==1",)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.mkdir(), "regular file|Is a directory"),
        (lambda path: path.write_bytes(b"x" * (LARGEST + 1)), f"more than {LARGEST} bytes"),
        (lambda path: path.write_bytes(b"apple\nb\xff"), r"it is not UTF-8 \(byte 7\)"),
        (lambda path: path.write_bytes(b"apple\0"), "a NUL byte"),
        (lambda path: path.write_text("a" * (LONGEST + 1)), f"more than {LONGEST} characters"),
        (lambda path: path.write_text("-f 'unbalanced"), "an option that is not understood"),
        (lambda path: path.write_text("./fifo"), "./fifo, which is not there"),
        (lambda path: path.write_text("./" + "a" * 300), "which is no path here|is not there"),
        (lambda path: path.write_text("-r ~nobody-here/a.txt"), "which is no path here"),
        (lambda path: path.write_text("x @ https://[host/x.zip"), "which is no URL"),
    ],
    ids=["fifo", "folder", "large", "not-utf-8", "nul", "long", "quote", "fifo-named", "name",
         "user", "url"],
)  # fmt: skip
def test_what_is_no_requirements_file_is_said(
    model: Path, make: Callable[[Path], object], words: str
) -> None:
    os.mkfifo(model / "fifo")
    make(model / "r.txt")
    with pytest.raises(EnvError, match=words):
        flatten(["-r r.txt"], model, {})


def test_includes_without_end_are_refused(model: Path) -> None:
    for number in range(MOST_INCLUDES + 1):
        (model / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 2)
    with pytest.raises(EnvError, match=f"include more than {MOST_INCLUDES} files"):
        flatten(["-r 0.txt"], model, {})


@pytest.mark.parametrize(
    "line",
    [
        "a" + " " * (LONGEST - 2) + "b",
        "a" + " " * (LONGEST - 3) + "[b",
        "a @" + " " * (LONGEST - 4) + "[",
        "x" * LONGEST,
        "a/" * (LONGEST // 2),
        "a[" * (LONGEST // 2),
        "a-" * (LONGEST // 2),
        "a;" * (LONGEST // 2),
        "a @ " * (LONGEST // 4),
        "a" + "=" * (LONGEST - 1),
        "${A" * (LONGEST // 3),
        "a://" * (LONGEST // 4),
        "--pre " * (LONGEST // 6),
        "-i a " * (LONGEST // 5),
        "-f '" + "a" * (LONGEST - 5) + "'",
    ],
)
def test_long_lines_take_no_time(model: Path, line: str) -> None:
    """A time that is quadratic in the length is minutes here."""
    requirements = [line] * 8
    before = time.process_time()
    with contextlib.suppress(EnvError):
        flatten(requirements, model, {})
    assert time.process_time() - before < 10
