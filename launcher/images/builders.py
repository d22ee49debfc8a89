"""The programs that build images: found, run, and what they say in one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LauncherError, UsageError
from launcher.images.context import BuildContext
from launcher.images.dockerfile import SECRET

# In the order in which they are looked for.
BUILDERS = ("docker", "podman", "buildah")
_INSTALL = (
    "Install one: docker (https://docs.docker.com/engine/install/), podman or buildah "
    "(apt-get install buildah, dnf install buildah). Or write the context with "
    "`launcher generate-dockerfile`, and build it elsewhere."
)
_TAIL = 40
# What a builder says, what that means (with {base}, the base image), and what to do about it.
_CAUSES = (
    (
        r"no space left on device|disk quota exceeded",
        "there is no room on the disk",
        "Free some space where images are kept (`docker system prune`, `podman system prune`).",
    ),
    (
        r"manifest (?:for \S+ )?(?:not found|unknown)|no such image|image not known"
        r"|failed to resolve source metadata|pull access denied|unable to copy from source"
        r"|error creating build container|no image .* found",
        "an image to build from cannot be had ({base}, or what it is built with)",
        "Name one that can be pulled with --base-image, or have this one on the machine.",
    ),
    (
        r"resolved to Python \S+, which is incompatible|is not supported by the lockfile",
        "{base} has another Python or processor than the lock is for",
        "Give a base image with the model's Python, and --platform for another processor.",
    ),
    (
        r"(?:command|program) .?\S*(?:gcc|cc|g\+\+)\S? (?:failed|not found)",
        "a package has to be built, and there is no compiler",
        "Name an image that has one: --build-arg BUILD_IMAGE=python:X.Y.",
    ),
)
# The same for a push, with {tag}, {registry} and the {builder}.
_PUSH_CAUSES = (
    (
        r"server gave HTTP response to HTTPS client",
        "{registry} speaks no TLS",
        "Give `-- --tls-verify=false`; docker has it in its daemon's insecure-registries.",
    ),
    (
        r"unauthorized|authentication required|no basic auth credentials|denied|forbidden",
        "{registry} does not let you push {tag}",
        "Log in first, as somebody who may: `{builder} login {registry}`.",
    ),
    (
        r"connection refused|no such host|no route to host|i/o timeout|network is unreachable",
        "{registry} cannot be reached",
        "The image itself is built. Check the name, and push it with `{builder} push {tag}`.",
    ),
)
# Options of registries, which podman and buildah have for a build and for a push.
_OF_REGISTRIES = ("--tls-verify", "--authfile", "--cert-dir", "--creds")


class ImageBuildError(LauncherError):
    """The image could not be built, or not be pushed."""

    exit_code = 3


@dataclass(frozen=True)
class BuildRequest:
    """What is to come of a context.

    :param tags: names of the image, the first one its own.
    :param labels: ``NAME=VALUE``; added to those that the context has.
    :param build_args: ``NAME=VALUE``.
    :param platform: ``linux/arm64``, None for this machine's.
    :param options: words for the builder, as they are; what they say of registries goes for a push.
    """

    tags: tuple[str, ...]
    platform: str | None = None
    labels: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    push: bool = False
    options: tuple[str, ...] = ()


def find_builder(name: str | None) -> str:
    """The path of a builder: the one of that name, or the first that this machine has.

    A docker whose daemon does not answer is passed over, if there is another one.

    :raises UsageError: there is none.
    """
    if name is not None:
        path = shutil.which(name)
        if path is None:
            raise UsageError(f"There is no {name} on PATH.", _INSTALL)
        return path
    found = [path for each in BUILDERS if (path := shutil.which(each))]
    working = [each for each in found if Path(each).name != "docker" or docker_answers(each)]
    if working:
        return working[0]
    if found:
        raise UsageError(
            "docker is on PATH, but its daemon does not answer; there is no podman or buildah.",
            "Start the daemon, or see `docker info` for what is wrong.",
        )
    raise UsageError("There is no docker, podman or buildah on PATH to build with.", _INSTALL)


def docker_answers(docker: str) -> bool:
    command = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def build(context: BuildContext, builder: str, request: BuildRequest) -> None:
    """Write the context to a temporary folder, build it, and push it where that is wanted.

    :raises LauncherError: one of it failed.
    """
    with tempfile.TemporaryDirectory(prefix="launcher-image-") as name, _secret(context) as secret:
        folder = Path(name)
        context.write(folder)
        words = {"base": context.base_image}
        _run(build_command(builder, folder, request, secret), _CAUSES, words)
    if request.push:
        for tag in request.tags:
            words = {"tag": tag, "registry": _registry(tag), "builder": Path(builder).name}
            _run(push_command(builder, tag, request.options), _PUSH_CAUSES, words)


def build_command(
    builder: str, folder: Path, request: BuildRequest, secret: Path | None
) -> list[str]:
    """The command that builds the context in ``folder``.

    :param secret: a file with the credentials of indexes, or None.
    """
    command = [builder, "build"]
    if Path(builder).name != "docker":
        # OCI's format has no health check; and without layers nothing is taken from a cache.
        command += ["--format", "docker", "--layers"]
    for tag in request.tags:
        command += ["--tag", tag]
    command += ["--platform", request.platform] if request.platform else []
    for label in request.labels:
        command += ["--label", label]
    for argument in request.build_args:
        command += ["--build-arg", argument]
    if secret is not None:
        command += ["--secret", f"id={SECRET},src={secret}"]
    return [*command, *request.options, str(folder)]


def push_command(builder: str, tag: str, options: Sequence[str]) -> list[str]:
    """The command that pushes an image.

    A registry on this machine needs no TLS: docker has it so of itself.

    :param options: those of the build.
    """
    command = [builder, "push"]
    if Path(builder).name != "docker":
        found: list[str] = []
        words = iter(options)
        for word in words:
            name, separator, _ = word.partition("=")
            if name in _OF_REGISTRIES:
                found.append(word)
                if not separator and name != "--tls-verify":
                    found.append(next(words, ""))
        if re.match(r"(localhost|127\.\d+\.\d+\.\d+)[:/]", tag):
            command.append("--tls-verify=false")
        command += found
    return [*command, tag]


def _registry(tag: str) -> str:
    """The host of an image's name; docker's own where it has none."""
    first, separator, _ = tag.partition("/")
    is_host = separator and (set(".:") & set(first) or first == "localhost")
    return first if is_host else "docker.io"


@contextmanager
def _secret(context: BuildContext) -> Iterator[Path | None]:
    """The credentials in a file for this user alone, while the build lasts."""
    if not context.netrc:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="launcher-secret-") as folder:  # 0700
        path = Path(folder, "netrc")
        path.touch(mode=0o600)
        path.write_text(context.netrc, encoding="utf-8")
        yield path


def _run(
    command: Sequence[str], causes: Sequence[tuple[str, str, str]], words: Mapping[str, str]
) -> None:
    """Run a builder, show what it says, and make an error of its failure.

    :param causes: what its words mean, the ``words`` to be put in.
    """
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
    tail: list[str] = []
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    sys.stderr.write(line)
                    tail = [*tail[1 - _TAIL :], line]
            except BaseException:
                process.terminate()
                raise
    except OSError as error:
        raise ImageBuildError(f"{command[0]} cannot be run: {error.strerror}.") from error
    if process.returncode != 0:
        name = f"{Path(command[0]).name} {command[1]}"
        raise _failure(name, process.returncode, "".join(tail), causes, words)


def _failure(
    name: str,
    code: int,
    text: str,
    causes: Sequence[tuple[str, str, str]],
    words: Mapping[str, str],
) -> ImageBuildError:
    """What a failure means, as far as it can be told from the builder's last lines."""
    for pattern, cause, advice in causes:
        if re.search(pattern, text, re.IGNORECASE):
            message = f"{name}: {cause.format_map(words)}."
            return ImageBuildError(message, advice.format_map(words))
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    last = last.removeprefix("Error: ").removeprefix("ERROR: ").rstrip(".")
    return ImageBuildError(
        f"{name} failed with exit code {code}: {last}.", "Its own words are above."
    )
