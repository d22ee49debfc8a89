"""Requirements files as pip reads them, flattened into one value.

The format is pip's: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envs.building.log import without_credentials
from envs.errors import EnvError
from envs.pip.indexes import IndexSettings, url_secrets
from envs.spec import hash_file, hash_folder, normalize_requirement

_OPTIONS = {
    "-r": "requirement",
    "--requirement": "requirement",
    "-c": "constraint",
    "--constraint": "constraint",
    "-e": "editable",
    "--editable": "editable",
    "-i": "index_url",
    "--index-url": "index_url",
    "--pypi-url": "index_url",
    "--extra-index-url": "extra_index_urls",
    "-f": "find_links",
    "--find-links": "find_links",
    "--trusted-host": "trusted_hosts",
    "--no-binary": "no_binary",
    "--only-binary": "only_binary",
    "--no-index": "no_index",
    "--pre": "pre",
    # Nothing to do for these: hashes are always held to, wheels preferred, features pip's own.
    "--require-hashes": "require_hashes",
    "--prefer-binary": "prefer_binary",
    "--use-feature": "use_feature",
}
_FLAGS = ("no_index", "pre", "require_hashes", "prefer_binary")
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_SECRET_NAME = re.compile(r"TOKEN|PASS|SECRET|KEY|AUTH|CRED|USER", re.IGNORECASE)
_LOCAL = re.compile(
    r"^(?:(?P<name>[A-Za-z0-9._-]+)\s*(?P<named_extras>\[[^\]]*\])?\s*@\s*)?"
    r"(?P<path>[^;\s\[]+)(?P<extras>\[[^\]]*\])?\s*(?P<rest>(?:;|--|\s).*)?$"
)


@dataclass(frozen=True)
class Requirements:
    """A requirements file with everything it includes.

    Attributes:
        lines: requirement lines for an installer: variables filled in, paths absolute.
            They may hold credentials.
        constraints: the same for constraints.
        indexes: the options that say where packages come from.
        canonical: the lines in normal form, sorted, with the hash of a local file or folder in
            place of its path, without credentials.
        canonical_constraints: the same for constraints.
        secrets: credentials in the lines, for masking.
    """

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    indexes: IndexSettings = field(default_factory=IndexSettings)
    canonical: tuple[str, ...] = ()
    canonical_constraints: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()


def flatten(
    lines: Iterable[str],
    base_dir: Path | None,
    environ: Mapping[str, str] | None = None,
) -> Requirements:
    """Return the requirements that the lines, and the files they include, ask for.

    Relative paths start from ``base_dir`` (None: the working directory) in ``lines`` and from a
    file's own folder inside of it. ``${NAME}`` is replaced from ``environ`` (the process's).
    Raises EnvError for a file that is missing and for an option that pip does not have.
    """
    reader = _Reader(os.environ if environ is None else environ)
    reader.read(lines, (base_dir or Path()).absolute(), "the requirements")
    return reader.result()


class _Reader:
    """Collects requirement lines and options, file by file."""

    def __init__(self, environ: Mapping[str, str]):
        self.environ = environ
        self.lines: list[tuple[str, str]] = []
        self.constraints: list[tuple[str, str]] = []
        self.secrets: set[str] = set()
        self.options: dict[str, Any] = {}
        self._including: list[Path] = []

    def result(self) -> Requirements:
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.options.items()
        }
        indexes = IndexSettings(**options).under(self.environ)
        return Requirements(
            lines=tuple(dict.fromkeys(line for line, _ in self.lines)),
            constraints=tuple(dict.fromkeys(line for line, _ in self.constraints)),
            indexes=indexes,
            canonical=tuple(sorted({form for _, form in self.lines})),
            canonical_constraints=tuple(sorted({form for _, form in self.constraints})),
            secrets=frozenset(self.secrets | indexes.secrets()),
        )

    def read(
        self, lines: Iterable[str], folder: Path, origin: str, *, constraint: bool = False
    ) -> None:
        for line in _logical_lines(lines):
            text = self._expanded(line)
            if text.startswith("-"):
                self._option(text, folder, origin, constraint)
            else:
                entry = self._requirement(text, folder, origin)
                (self.constraints if constraint else self.lines).append(entry)

    def include(self, name: str, folder: Path, origin: str, *, constraint: bool) -> None:
        if "://" in name and not name.startswith("file:"):
            raise EnvError(
                f"{origin} includes {without_credentials(name)}, which is not a local file",
                hint="download it beside the requirements and include the copy",
            )
        path = _path(name, folder)
        if path in self._including:
            return
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise EnvError(
                f"{origin} includes {name}, which cannot be read: {error.strerror}",
                hint=f"put the file at {path}",
            ) from error
        self._including.append(path)
        self.read(text.splitlines(), path.parent, name, constraint=constraint)
        self._including.pop()

    def _expanded(self, line: str) -> str:
        def value(match: re.Match[str]) -> str:
            found = self.environ.get(match[1])
            if not found:
                return match[0]
            if _SECRET_NAME.search(match[1]) and len(found) >= 4:
                self.secrets.add(found)
            return found

        return _VARIABLE.sub(value, line)

    def _option(self, text: str, folder: Path, origin: str, constraint: bool) -> None:
        chosen = _parse_options(text, origin)
        for name, is_constraint in (("requirement", constraint), ("constraint", True)):
            for included in chosen.get(name, ()):
                self.include(included, folder, origin, constraint=is_constraint)
        for editable in chosen.get("editable", ()):
            # Copied, not linked: an environment must not change with the folder it came from.
            self.lines.append(self._requirement(editable, folder, origin))
        for url in chosen.get("index_url", ()):
            self.options["index_url"] = url
        links = [self._link(link, folder) for link in chosen.get("find_links", ())]
        self.options.setdefault("find_links", []).extend(links)
        for name in ("extra_index_urls", "trusted_hosts", "no_binary", "only_binary"):
            self.options.setdefault(name, []).extend(chosen.get(name, ()))
        for name in ("no_index", "pre"):
            if name in chosen:
                self.options[name] = True

    def _link(self, link: str, folder: Path) -> str:
        return link if "://" in link else str(_path(link, folder))

    def _requirement(self, text: str, folder: Path, origin: str) -> tuple[str, str]:
        """Return a requirement as an installer gets it, and in canonical form."""
        match = _LOCAL.match(text)
        if match is not None and _is_local(match["path"], bool(match["name"]), folder):
            return self._local(match, folder, origin)
        url = re.search(r"\S+://\S+", text)
        if url is not None:
            self.secrets |= url_secrets(url[0])
        bare = without_credentials(text, self.secrets).replace("****@", "")
        return text, normalize_requirement(bare)

    def _local(self, match: re.Match[str], folder: Path, origin: str) -> tuple[str, str]:
        path = _path(match["path"], folder)
        if not path.exists():
            raise EnvError(
                f"{origin} names {match['path']}, which is not there", hint=f"put it at {path}"
            )
        extras = match["named_extras"] or match["extras"] or ""
        name = match["name"] or (path.name.split("-")[0] if path.suffix == ".whl" else None)
        rest = f" {match['rest'].strip()}" if match["rest"] else ""
        digest = hash_file(path) if path.is_file() else hash_folder(path)
        if name is None:
            return f"{path}{extras}{rest}", f"{path.name}{extras} @ sha256:{digest}{rest}"
        return (
            f"{name}{extras} @ {path.as_uri()}{rest}",
            f"{normalize_requirement(name)}{extras} @ sha256:{digest}{rest}",
        )


def _logical_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines with continuations joined and comments removed, empty ones left out."""
    pending = ""
    for line in (part for text in lines for part in text.splitlines()):
        if line.endswith("\\") and not _COMMENT.match(line):
            pending += line[:-1]
            continue
        text = _COMMENT.sub("", pending + line).strip()
        pending = ""
        if text:
            yield text
    if last := _COMMENT.sub("", pending).strip():
        yield last


def _path(name: str, folder: Path) -> Path:
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    return Path(os.path.normpath(folder / Path(name).expanduser()))


def _is_local(name: str, is_named: bool, folder: Path) -> bool:
    """Tell whether a requirement is a path, by pip's rules: a separator, a dot, or an archive."""
    if name.startswith("file:"):
        return True
    if "://" in name or name.startswith("git+"):
        return False
    if is_named or name.startswith((".", "/", "~")):
        return True
    return name.lower().endswith(ARCHIVES) or ("/" in name and _path(name, folder).exists())


def _parse_options(text: str, origin: str) -> dict[str, Any]:
    """Return the options of a line: lists of values by name, True for flags.

    By hand, since a model's requirements are read at every start: importing an option parser
    would cost more than reading them.
    """
    found: dict[str, Any] = {}
    words = text.split()
    if "'" in text or '"' in text:
        import shlex

        words = shlex.split(text)
    while words:
        word = words.pop(0)
        option, joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("--") and len(word) > 2:
            option, joined, value = word[:2], "=", word[2:]
        name = _OPTIONS.get(option)
        if name is None or (name in _FLAGS and joined):
            raise _not_understood(text, origin)
        if name in _FLAGS:
            found[name] = True
            continue
        if not joined:
            if not words:
                raise _not_understood(text, origin)
            value = words.pop(0)
        split = name in ("no_binary", "only_binary")
        found.setdefault(name, []).extend(v for v in (value.split(",") if split else [value]) if v)
    return found


def _not_understood(text: str, origin: str) -> EnvError:
    return EnvError(
        f"{origin} has an option that is not understood: {without_credentials(text)}",
        hint="remove it from the requirements",
    )
