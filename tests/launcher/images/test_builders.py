"""What a builder is told, and what its failures mean.

The builders here are scripts that say what the real ones do: a full disk and a daemon that is not
there cannot be had here. test_images.py and test_registries.py have a real one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.images.builders import BuildRequest, build_command, push_command
from tests.launcher.images.tiny_model import tiny_model

Run = Callable[..., subprocess.CompletedProcess[str]]


class Builders:
    """Programs of a builder's name on a PATH of their own, which note what they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environ = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
        for name in ("docker", "podman", "buildah"):
            self.add(name, "exit 1")

    def add(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.folder}/told\n{script}\n')
        path.chmod(0o755)

    @property
    def told(self) -> list[str]:
        return (self.folder / "told").read_text().splitlines()


@pytest.fixture
def builders(tmp_path: Path) -> Builders:
    return Builders(tmp_path / "bin")


@pytest.fixture
def build(run: Run, builders: Builders, tmp_path: Path) -> Run:
    """Build an image of a model that needs no lock."""
    model = tiny_model(tmp_path / "tiny")

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        local = ["--env-manager", "local", "--base-image", "base:1"]
        return run("build-docker", "-m", model, *local, *arguments, env=builders.environ)

    return start


def test_a_builder_gets_all_that_was_asked_for() -> None:
    request = BuildRequest(
        ("a:1", "a:latest"), "linux/arm64", ("l=1",), ("B=2",), False, ("--quiet",)
    )
    secret = Path("/run/secret")
    asked = [
        "--tag",
        "a:1",
        "--tag",
        "a:latest",
        "--platform",
        "linux/arm64",
        "--label",
        "l=1",
        "--build-arg",
        "B=2",
    ]
    asked += ["--secret", "id=netrc,src=/run/secret", "--quiet", "/c"]
    docker = build_command("/usr/bin/docker", Path("/c"), request, secret)
    assert docker == ["/usr/bin/docker", "build", *asked]
    # Without this format there is no health check.
    podman = build_command("/usr/bin/podman", Path("/c"), request, secret)
    assert podman == ["/usr/bin/podman", "build", "--format", "docker", "--layers", *asked]


def test_a_docker_without_its_daemon_is_passed_over(build: Run, builders: Builders) -> None:
    builders.add("podman", "exit 0")
    assert build("-n", "mine:1").returncode == 0
    assert [Path(line.split()[0]).name for line in builders.told] == ["docker", "podman"]
    for name in ("podman", "buildah"):
        (builders.folder / name).unlink()
    builders.environ["PATH"] = str(builders.folder)
    ended = build()
    assert ended.returncode == 2
    assert "its daemon does not answer" in ended.stderr


def test_every_name_is_pushed(build: Run, builders: Builders) -> None:
    builders.add("podman", "exit 0")
    assert build("--builder", "podman", "-n", "a:1", "--tag", "a:2", "--push").returncode == 0
    assert [line.split()[1:] for line in builders.told[1:]] == [["push", "a:1"], ["push", "a:2"]]


def test_what_a_registry_is_told_goes_for_its_push() -> None:
    given = ("--isolation", "chroot", "--authfile", "a.json", "--tls-verify", "--creds=me:x")
    kept = ["--authfile", "a.json", "--tls-verify", "--creds=me:x"]
    assert push_command("/b/buildah", "r.io/x", given) == ["/b/buildah", "push", *kept, "r.io/x"]
    # As docker has it of itself: on this machine there need be no TLS.
    here = ["/b/podman", "push", "--tls-verify=false", "localhost:5000/x"]
    assert push_command("/b/podman", here[-1], ()) == here
    assert push_command("/b/docker", here[-1], ()) == ["/b/docker", "push", here[-1]]


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "http: server gave HTTP response to HTTPS client",
            "push: r.io:80 speaks no TLS.",
            "--tls-verify=false",
        ),
        ("dial tcp: connect: connection refused", "push: r.io:80 cannot be reached.", "push r.io"),
        ("unauthorized: authentication required", "push: r.io:80 does not let you", "login r.io"),
    ],
)
def test_a_push_that_fails_is_said_in_one_line(
    build: Run, builders: Builders, said: str, message: str, hint: str
) -> None:
    builders.add("podman", f'test "$1" = build || {{ echo "{said}"; exit 125; }}')
    ended = build("--builder", "podman", "-n", "r.io:80/a:1", "--push")
    assert ended.returncode == 3
    assert message in ended.stderr
    assert hint in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("write /x: no space left on device", "there is no room on the disk", "prune"),
        (
            "base:1: manifest unknown",
            "an image to build from cannot be had (base:1",
            "--base-image",
        ),
        ("error: something new", "failed with exit code 7", "words are above"),
        ("error: command 'gcc' failed: No such file", "there is no compiler", "BUILD_IMAGE"),
    ],
)
def test_a_failure_is_said_in_one_line(
    build: Run, builders: Builders, said: str, message: str, hint: str
) -> None:
    builders.add("buildah", f"cat <<'.' >&2\n{said}\n.\nexit 7")
    ended = build("--builder", "buildah")
    assert ended.returncode == 3
    *above, error, advice = ended.stderr.splitlines()
    assert said in above
    assert message in error
    assert hint in advice


@pytest.mark.parametrize("pair", ["nothing", "=value", "two words=1"])
def test_pairs_are_pairs(build: Run, pair: str) -> None:
    ended = build("--label", pair)
    assert ended.returncode == 2
    assert "is not NAME=VALUE" in ended.stderr
