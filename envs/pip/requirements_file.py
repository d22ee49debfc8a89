"""Requirements files as pip reads them, flattened into one value.

The format is pip's: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from envs.building.log import bare, without_credentials
from envs.disk.files import read_regular
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
LARGEST = 1 << 20  # bytes of one file
LONGEST = 1 << 16  # characters of one line, continuations joined
MOST_INCLUDES = 100
# Models come from anywhere: no two repetitions of these may share out the same characters.
_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_SECRET_NAME = re.compile(r"TOKEN|PASS|SECRET|KEY|AUTH|CRED|USER", re.IGNORECASE)
_LOCAL = re.compile(
    r"^(?:(?P<name>[A-Za-z0-9._-]+)\s*(?:(?P<named_extras>\[[^\]]*\])\s*)?@\s*)?"
    r"(?P<path>[^;\s\[]+)(?P<extras>\[[^\]]*\])?\s*(?P<rest>(?:;|--|\s).*)?$"
)


class Requirements(NamedTuple):
    """A requirements file with everything it includes.

    :param lines: requirement lines for an installer: variables filled in, paths absolute. They
        may hold credentials.
    :param constraints: the same for constraints.
    :param indexes: the options that say where packages come from.
    :param canonical: the lines in normal form, sorted, with the hash of a local file or folder in
        place of its path, without credentials.
    :param canonical_constraints: the same for constraints.
    :param secrets: credentials in the lines, for masking.
    """

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    indexes: IndexSettings = IndexSettings()
    canonical: tuple[str, ...] = ()
    canonical_constraints: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()


def flatten(
    lines: Iterable[str],
    base_dir: Path | None,
    environ: Mapping[str, str] | None = None,
) -> Requirements:
    """Return the requirements that the lines, and the files they include, ask for.

    Relative paths start from ``base_dir`` in ``lines`` and from a file's own folder inside of it.

    :param base_dir: the model's folder, which no path may lead out of. None: the working
        directory, and files anywhere.
    :param environ: what ``${NAME}`` is replaced from (None: the process's).
    :raises EnvError: a file is missing, too large, outside of the model or no regular one; an
        option is none of pip's.
    """
    reader = _Reader(os.environ if environ is None else environ, base_dir and base_dir.resolve())
    reader.read(lines, (base_dir or Path()).absolute(), "the requirements")
    return reader.result()


def read_lines(path: Path) -> list[str]:
    """Return the lines of a requirements file, which may come from anywhere.

    :raises EnvError: it cannot be read, is no regular file, too large, or no UTF-8.
    """
    try:
        return read_regular(path, LARGEST).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise EnvError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EnvError(
            f"{path} cannot be read: it is not UTF-8 (byte {error.start}).",
            hint="Save it as UTF-8.",
        ) from error


class _Reader:
    """Collects requirement lines and options, file by file."""

    def __init__(self, environ: Mapping[str, str], root: Path | None) -> None:
        self.environ = environ
        self.root = root
        self.lines: list[tuple[str, str]] = []
        self.constraints: list[tuple[str, str]] = []
        self.secrets: set[str] = set()
        self.options: dict[str, Any] = {}
        self._including: list[Path] = []
        self._included = 0

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
            if len(line) > LONGEST or "\0" in line:
                problem = "a NUL byte" if "\0" in line else f"more than {LONGEST} characters"
                raise EnvError(
                    f"{_sentence(origin)} have a line with {problem}: {line[:60]!r}...",
                    hint="Correct the requirements.",
                )
            text = self._expanded(line)
            if text.startswith("-"):
                self._option(text, folder, origin, constraint)
            else:
                entry = self._requirement(text, folder, origin)
                (self.constraints if constraint else self.lines).append(entry)

    def include(self, name: str, folder: Path, origin: str, *, constraint: bool) -> None:
        if "://" in name and not name.startswith("file:"):
            raise EnvError(
                f"{_sentence(origin)} include {without_credentials(name)}, which is not a local"
                " file.",
                hint="Download it beside the requirements and include the copy.",
            )
        path = self._path(name, folder, origin)
        if path in self._including:
            return
        self._included += 1
        if self._included > MOST_INCLUDES:
            raise EnvError(f"The requirements include more than {MOST_INCLUDES} files.")
        try:
            lines = read_lines(path)
        except EnvError as error:
            hint = error.hint or f"Put a requirements file at {path}."
            raise EnvError(
                f"{_sentence(origin)} include {name}. {error.message}", hint=hint
            ) from error
        self._including.append(path)
        self.read(lines, path.parent, name, constraint=constraint)
        self._including.pop()

    def _path(self, name: str, folder: Path, origin: str) -> Path:
        """Return the path that a name (or a ``file:`` URL) stands for, inside of the model."""
        try:
            path = _path(name, folder)
            target = path.resolve()
        except (RuntimeError, OSError, ValueError) as error:  # ~nobody, too long, file://[
            raise EnvError(
                f"{_sentence(origin)} name {name[:200]}, which is no path here: {error}.",
                hint="Put the file beside the requirements and name it there.",
            ) from error
        if self.root is not None and not target.is_relative_to(self.root):
            raise EnvError(
                f"{_sentence(origin)} name {name}, which is outside of the model's folder.",
                hint="Put a copy into the model's folder and name that.",
            )
        return path

    def _check_url(self, url: str, folder: Path, origin: str) -> None:
        """Refuse a URL that leads to files outside of the model, or is none."""
        try:
            urlsplit(url)
        except ValueError as error:
            raise EnvError(
                f"{_sentence(origin)} name {without_credentials(url)}, which is no URL: {error}.",
                hint="Correct the requirements.",
            ) from error
        local = re.search(r"(?:^|\+)file:(.*)", url, re.IGNORECASE)
        if local is not None:
            self._path(f"file:{local[1]}", folder, origin)

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
        # The last one counts, as with pip; a line may name thousands, each a look at the disk.
        for url in chosen.get("index_url", ())[-1:]:
            self.options["index_url"] = self._link(url, folder, origin)
        for name in ("extra_index_urls", "find_links"):
            links = [self._link(link, folder, origin) for link in chosen.get(name, ())]
            self.options.setdefault(name, []).extend(links)
        for name in ("trusted_hosts", "no_binary", "only_binary"):
            self.options.setdefault(name, []).extend(chosen.get(name, ()))
        for name in ("no_index", "pre"):
            if name in chosen:
                self.options[name] = True

    def _link(self, link: str, folder: Path, origin: str) -> str:
        if "://" not in link:
            return str(self._path(link, folder, origin))
        self._check_url(link, folder, origin)
        return link

    def _requirement(self, text: str, folder: Path, origin: str) -> tuple[str, str]:
        """Return a requirement as an installer gets it, and in canonical form."""
        match = _LOCAL.match(text)
        if match is not None and _is_local(match["path"], bool(match["name"]), folder):
            return self._local(match, folder, origin)
        for url in (word for word in text.split() if "://" in word):
            self._check_url(url, folder, origin)
            self.secrets |= url_secrets(url)
        return text, normalize_requirement(bare(text, self.secrets))

    def _local(self, match: re.Match[str], folder: Path, origin: str) -> tuple[str, str]:
        path = self._path(match["path"], folder, origin)
        if not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH112, PTH113 - no OSError
            raise EnvError(
                f"{_sentence(origin)} name {match['path']}, which is not there.",
                hint=f"Put it at {path}.",
            )
        extras = match["named_extras"] or match["extras"] or ""
        name = match["name"] or (path.name.split("-")[0] if path.suffix == ".whl" else None)
        rest = f" {match['rest'].strip()}" if match["rest"] else ""
        digest = hash_folder(path) if path.is_dir() else hash_file(path)
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
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            pending += line[:-1]
            continue
        text = _COMMENT.sub("", pending + line).strip()
        pending = ""
        if text:
            yield text
    if last := _COMMENT.sub("", pending).strip():
        yield last


def _sentence(origin: str) -> str:
    """Return where something stands as the beginning of a sentence, in the plural."""
    return "The requirements" if origin == "the requirements" else f"The requirements in {origin}"


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
    return name.lower().endswith(ARCHIVES) or ("/" in name and os.path.exists(folder / name))  # noqa: PTH110 - False where it cannot be


def _parse_options(text: str, origin: str) -> dict[str, Any]:
    """Return the options of a line: lists of values by name, True for flags.

    By hand, since a model's requirements are read at every start: importing an option parser
    would cost more than reading them.
    """
    found: dict[str, Any] = {}
    words = iter(_words(text, origin))
    for word in words:
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
            following = next(words, None)
            if following is None:
                raise _not_understood(text, origin)
            value = following
        split = name in ("no_binary", "only_binary")
        found.setdefault(name, []).extend(v for v in (value.split(",") if split else [value]) if v)
    return found


def _words(text: str, origin: str) -> list[str]:
    if "'" not in text and '"' not in text:
        return text.split()
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise _not_understood(text, origin) from error


def _not_understood(text: str, origin: str) -> EnvError:
    return EnvError(
        f"{_sentence(origin)} have an option that is not understood: {without_credentials(text)}.",
        hint="Remove it from the requirements.",
    )
