"""The ``pip:`` section of a conda.yaml: installed by uv beside what conda has linked."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import Distribution
from pathlib import Path

from envs.building.context import Context
from envs.building.interpreters import Interpreter
from envs.errors import EnvError
from envs.pip.platforms import Platform
from envs.pip.pylock import marker_environment
from envs.pip.resolution import Request, Resolution, resolve
from envs.pip.site_packages import mismatch
from envs.pip.uv import work_folder
from envs.spec import normalize_name, requirement_name


@dataclass(frozen=True)
class Linked:
    """The Python distributions that are in an environment already, and stay as they are.

    :param distributions: by normalised name.
    :param metadata: the folders (of an old egg: the file) that they are read from.
    :param interpreter: the environment's Python.
    :param origin: who put them there, for messages: "conda installs", "conda-lock.yml has".
    :param platform: where that Python is; None for this machine.
    """

    distributions: Mapping[str, Distribution]
    metadata: Mapping[str, Path]
    interpreter: Interpreter
    origin: str
    platform: Platform | None = None

    @property
    def versions(self) -> dict[str, str]:
        return {name: found.version for name, found in self.distributions.items()}

    def check(self, lines: Iterable[str]) -> None:
        """Compare requirement lines with what is there.

        :raises EnvError: it contradicts one.
        """
        environment = marker_environment(self.interpreter, self.platform)
        for line in lines:
            found = mismatch(line, self.versions, environment)
            if found is not None and found.installed is not None:
                raise EnvError(
                    f"The pip section asks for {found.requirement}, but {self.origin}"
                    f" {requirement_name(line)} {found.installed}.",
                    hint="Take it out of one of the two sections of conda.yaml.",
                )


def find_linked(site_packages: Path, interpreter: Interpreter, origin: str) -> Linked:
    """Return the distributions in a folder: those of wheels, and eggs of old conda packages."""
    found, metadata = {}, {}
    for path in sorted([*site_packages.glob("*.dist-info"), *site_packages.glob("*.egg-info")]):
        distribution = Distribution.at(path)
        if distribution.metadata["Name"] and distribution.version:
            name = normalize_name(distribution.metadata["Name"])
            found[name] = distribution
            metadata[name] = path
    return Linked(found, metadata, interpreter, origin)


def resolve_beside(
    linked: Linked, request: Request, context: Context, file_format: str = "requirements.txt"
) -> Resolution:
    """Return what is to be installed for a request beside what is there.

    Versions that conda has built need not be on any package index. So each distribution that is
    there is shown to the resolver as a wheel of that version, which nothing else may replace.

    :raises EnvError: there is no solution.
    """
    linked.check(request.lines)
    with _stand_ins(linked, context) as wheels:
        constrained = replace(request, constraints=(*request.constraints, *wheels))
        resolution = resolve(constrained, context, file_format)
    return resolution.without(linked.versions) if file_format != "pylock.toml" else resolution


@contextmanager
def _stand_ins(linked: Linked, context: Context) -> Iterator[list[str]]:
    """Yield constraint lines for what is there, each with a wheel that has nothing in it."""
    from packaging.version import InvalidVersion, Version

    with work_folder(context) as folder:
        lines = []
        for name, found in sorted(linked.distributions.items()):
            try:
                version = str(Version(found.version))
            except InvalidVersion:
                continue  # of an egg from before PEP 440: no index has anything to replace it
            wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
            _write_wheel(wheel, name, version, found.requires or [])
            lines.append(f"{name} @ {wheel.as_uri()}")
        yield lines


def _write_wheel(path: Path, name: str, version: str, requires: Iterable[str]) -> None:
    """Write a wheel of metadata: what it needs is there already, only its extras count."""
    extras = [line for line in requires if re.search(r"\bextra\s*==", line)]
    names = {
        match[1] for line in extras for match in re.finditer(r"extra\s*==\s*['\"]([^'\"]+)", line)
    }
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in sorted(names)]
    metadata += [f"Requires-Dist: {line}" for line in extras]
    info = path.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def conda_constraints(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the match specs that say of conda packages what requirement lines say.

    They hold for what conda installs because something depends on it (``setuptools`` for
    ``pip``), so that the pip section finds the version it pins. Lines that have no counterpart
    (URLs, markers, arbitrary equality) are left out.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for line in lines:
        try:
            requirement = Requirement(line.split(" --")[0])
        except InvalidRequirement:
            continue  # a path, or a URL without a name
        operators = {specifier.operator for specifier in requirement.specifier}
        if requirement.url or requirement.marker or not operators or "===" in operators:
            continue
        clauses = [_clause(s.operator, s.version) for s in requirement.specifier]
        found.append(f"{normalize_name(requirement.name)} {','.join(sorted(clauses))}")
    return tuple(sorted(set(found)))


def _clause(operator: str, version: str) -> str:
    public = version.partition("+")[0]
    return public if operator == "==" and public.endswith(".*") else f"{operator}{public}"
