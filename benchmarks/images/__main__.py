"""Images of one model: ours beside those of MLflow's own Dockerfiles, by the same builder.

    python -m benchmarks.images MODEL --base IMAGE [--mlflow PYTHON] [--ubuntu IMAGE --pyenv FOLDER]
        [--pip-cert FILE] [-- OPTIONS]

IMAGE is a base with the model's Python and pip that the builder has; PYTHON is the interpreter of
an environment with MLflow. What its `generate-dockerfile` writes is built on the same base in place
of the one that it names. What its `build-docker` builds is made of an image of Ubuntu, and takes
pyenv, a Python and pip from three places in the net: here they come out of FOLDER, a pyenv with the
model's Python, and from Ubuntu. OPTIONS go to buildah. Each image is built from nothing, and then
once more with another version of the model. Prints a table in Markdown: seconds, bytes, layers,
packages of the distribution and of Python, and what the second version adds.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Built:
    """An image and how it came about; sizes in bytes, those of the base not counted."""

    seconds: float
    size: int
    layers: int
    installed: int
    packages: int
    again_seconds: float
    again_size: int


def layers(image: str) -> list[str]:
    """The digests of an image's layers."""
    found = subprocess.run(
        ["podman", "inspect", image], check=True, capture_output=True, text=True
    ).stdout
    digests: list[str] = json.loads(found)[0]["RootFS"]["Layers"]
    return digests


def sizes(image: str) -> list[int]:
    """The sizes of the steps that made an image, the last one first."""
    command = ["podman", "history", "--format", "json", "--human=false", image]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(each["size"]) for each in json.loads(found)]


def packages(image: str) -> tuple[int, int]:
    """How many packages are in an image: of Debian or Ubuntu, and of Python."""
    mounted = subprocess.run(
        ["podman", "image", "mount", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        installed = Path(mounted, "var/lib/dpkg/status").read_text().count("\nStatus: install ok")
        return installed, len(list(Path(mounted).glob("**/*-packages/*.dist-info")))
    finally:
        subprocess.run(["podman", "image", "unmount", image], check=True, capture_output=True)


def timed(command: list[str]) -> float:
    """Run a build to its end; seconds."""
    started = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}")
    return time.monotonic() - started


def measure(name: str, base: str, build: list[list[str]]) -> Built:
    """Run two builds, of a version and the next, and look at what came of them.

    :param name: the image's name without its tag, which is 1 and 2.
    """
    first, second = (timed(command) for command in build)
    own = len(layers(base))
    one, two = layers(f"{name}:1"), layers(f"{name}:2")
    new = sum(1 for a, b in zip(one, two, strict=False) if a != b)
    steps = [size for size in sizes(f"{name}:2") if size]
    # The base's own steps come last.
    mine = steps[: len(two) - own]
    there = packages(f"{name}:2")
    added = there[0] - packages(base)[0]
    return Built(first, sum(mine), len(two) - own, added, there[1], second, sum(steps[:new]))


def second_version(model: Path, folder: Path) -> Path:
    """A copy of a model with another file in it, as a retrained one has."""
    copy = folder / model.name
    shutil.copytree(model, copy)
    (copy / "retrained.txt").write_text("2\n")
    return copy


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--base", required=True)
    parser.add_argument("--mlflow", help="the interpreter of an environment with MLflow")
    parser.add_argument("--ubuntu", help="an image of Ubuntu, for what its build-docker builds")
    parser.add_argument("--pyenv", type=Path, help="a pyenv with the model's Python, for that")
    parser.add_argument("--pip-cert", help="certificates for package indexes")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:cut])
    options, arguments = words[cut + 1 :], []
    if given.pip_cert:
        options += ["--volume", f"{given.pip_cert}:{given.pip_cert}:ro"]
        for name in ("PIP_CERT", "SSL_CERT_FILE"):
            arguments += ["--build-arg", f"{name}={given.pip_cert}"]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        models = [given.model, second_version(given.model, Path(folder))]
        launcher = [sys.executable, "-m", "launcher", "build-docker", "--builder", "buildah"]
        rows["launcher"] = measure("localhost/bench-launcher", given.base, [
            [*launcher, "-m", str(model), "-n", f"localhost/bench-launcher:{number}",
             "--base-image", given.base, *arguments, "--", *options]
            for number, model in enumerate(models, 1)
        ])  # fmt: skip
        if given.mlflow:
            rows["MLflow, generate-dockerfile"] = measure("localhost/bench-mlflow", given.base, [
                mlflow_build(given, model, Path(folder, f"mlflow-{number}"), number, options)
                for number, model in enumerate(models, 1)
            ])  # fmt: skip
        if given.mlflow and given.ubuntu:
            rows["MLflow, build-docker"] = measure("localhost/bench-mlflow-ubuntu", given.ubuntu, [
                ubuntu_build(given, model, Path(folder, f"ubuntu-{number}"), number, options)
                for number, model in enumerate(models, 1)
            ])  # fmt: skip
    print(
        "| | build, s | added to the base, MB | layers | distribution's packages added |"
        " Python packages | next version: s, MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | {row.seconds:.0f} | {row.size / 1e6:,.0f} | {row.layers} |"
            f" {row.installed} | {row.packages} |"
            f" {row.again_seconds:.0f}, {row.again_size / 1e6:,.1f} |"
        )


def mlflow_build(
    given: argparse.Namespace, model: Path, folder: Path, number: int, options: list[str]
) -> list[str]:
    """The build of what `generate-dockerfile` writes, on our base."""
    text = mlflow_dockerfile(given, model, folder)
    # What python:X.Y-slim has, and a base of a distribution's own Python has not.
    added = ["RUN command -v python || ln -s $(command -v python3) /usr/local/bin/python"]
    return built_from(folder, text, given.base, added, given, options, f"bench-mlflow:{number}")


def ubuntu_build(
    given: argparse.Namespace, model: Path, folder: Path, number: int, options: list[str]
) -> list[str]:
    """The build of what MLflow's `build-docker` writes, what it clones and downloads replaced."""
    text = mlflow_dockerfile(given, model, folder, "--env-manager", "virtualenv")
    version = next(
        line.split()[1]
        for line in (model / "python_env.yaml").read_text().splitlines()
        if line.startswith("python:")
    )
    pyenv = folder / "pyenv"
    others = shutil.ignore_patterns("versions", ".git")
    shutil.copytree(given.pyenv, pyenv, ignore=others, symlinks=True)
    shutil.copytree(
        given.pyenv / "versions" / version,
        pyenv / "versions" / version,
        # As pyenv installs it: with pip alone.
        ignore=lambda at, names: (
            [each for each in names if not each.startswith(("pip", "setuptools"))]
            if at.endswith("site-packages")
            else []
        ),
        symlinks=True,
    )
    replaced = (
        (r"RUN git clone(.*\\\n)+.*\n", "COPY pyenv /root/.pyenv\n"),
        (
            r"RUN apt install -y software-properties-common(.*\\\n|    #.*\n)+.*\n",
            "RUN apt install -y software-properties-common python3-pip"
            " && apt remove -y python3-blinker python3-cryptography"
            " && ln -s -f $(which python3) /usr/bin/python\n",
        ),
    )
    for pattern, put in replaced:
        text, count = re.subn(pattern, lambda _, put=put: put, text)
        if count != 1:
            raise SystemExit(f"MLflow's Dockerfile has changed, there is no {pattern}:\n{text}")
    tag = f"bench-mlflow-ubuntu:{number}"
    return built_from(folder, text, given.ubuntu, [], given, options, tag)


def mlflow_dockerfile(given: argparse.Namespace, model: Path, folder: Path, *options: str) -> str:
    """Have MLflow write its Dockerfile into a folder; the text."""
    command = [given.mlflow, "-m", "mlflow", "models", "generate-dockerfile"]
    timed([*command, "-m", str(model), "-d", str(folder), *options])
    return (folder / "Dockerfile").read_text()


def built_from(
    folder: Path,
    text: str,
    base: str,
    added: list[str],
    given: argparse.Namespace,
    options: list[str],
    tag: str,
) -> list[str]:
    """The command that builds a Dockerfile from ``base``, with more lines at its beginning."""
    added = ["ENV PIP_BREAK_SYSTEM_PACKAGES=1", *added]
    if given.pip_cert:
        added.append(f"ENV PIP_CERT={given.pip_cert}")
    text = re.sub(r"(?m)^FROM .*", "\n".join([f"FROM {base}", *added]), text, count=1)
    (folder / "Dockerfile").write_text(text)
    command = ["buildah", "build", "--format", "docker", "--layers", "-t", f"localhost/{tag}"]
    return [*command, *options, str(folder)]


if __name__ == "__main__":
    main()
