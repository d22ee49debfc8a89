"""Models on FTP servers, as MLflow's `ftp:` artifacts: RFC 959, MLSD (RFC 3659) where it is."""

from __future__ import annotations

import ftplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.artifacts.bodies import BLOCK
from launcher.artifacts.http import Patience
from launcher.artifacts.settings import web_settings
from launcher.artifacts.source import ModelURIError, Report
from launcher.artifacts.stores.hosts import (
    Address,
    CannotResume,
    Crowded,
    Dropped,
    Found,
    HostStore,
)
from launcher.artifacts.transfer.download import refuse_count
from launcher.artifacts.uris import redact

_NOT_KNOWN = ("500", "501", "502", "504")


class _NoFacts(Exception):
    """The server has no MLSD."""


def open_ftp_store(uri: str, report: Report) -> HostStore:
    """Return the store for an `ftp://USER:PASSWORD@HOST:PORT/path` URI.

    Without a user that of ~/.netrc for the host is taken, else an anonymous one.

    :raises ModelURIError: it is of another form.
    """
    address = Address.of(uri)
    if address.username is None:
        address = _with_netrc(address)
    location = redact(uri).rstrip("/")
    patience = web_settings(location).patience
    return HostStore(
        lambda: FtpConnection(address, location, patience), location, address.path, patience, report
    )


def _with_netrc(address: Address) -> Address:
    import netrc
    import os

    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        found = netrc.netrc(file).authenticators(address.host)
    except (OSError, netrc.NetrcParseError):
        return address
    return address if found is None else address._replace(username=found[0], password=found[2])


class FtpConnection:
    """See Connection.

    :param location: what people call the model's place.
    """

    def __init__(self, address: Address, location: str, patience: Patience) -> None:
        self._location = location
        self._lists_by_name = False
        self._ftp = ftplib.FTP(timeout=patience.connect_timeout)
        try:
            with self._explained():
                self._ftp.connect(address.host, address.port or 21)
                assert self._ftp.sock is not None
                self._ftp.timeout = patience.read_timeout
                self._ftp.sock.settimeout(patience.read_timeout)
            self._log_in(address)
        except BaseException:
            self.close()
            raise

    def _log_in(self, address: Address) -> None:
        with self._explained():
            try:
                self._ftp.login(address.username or "", address.password or "")
            except ftplib.error_perm:  # Its text may repeat what was sent.
                who = address.username or "anonymous"
                raise ModelURIError(
                    f"The FTP server of {self._location!r} does not let the user {who!r} in.",
                    "Put user and password into ~/.netrc, or into the URI: "
                    "ftp://USER:PASSWORD@HOST/path, percent-encoded.",
                ) from None
            self._ftp.voidcmd("TYPE I")

    def look(self, path: str) -> Found | None:
        """See Connection."""
        name = path.rpartition("/")[2]
        with self._explained():
            try:
                self._ftp.cwd(path)
                return Found(name, True)
            except ftplib.error_perm:
                pass
            try:
                size = self._ftp.size(path)
            except ftplib.error_perm:
                return None
            return Found(name, False, size, self._modified(path))

    def _modified(self, path: str) -> str:
        with suppress(ftplib.error_perm):
            return self._ftp.voidcmd(f"MDTM {path}").partition(" ")[2].strip()
        return ""

    def entries(self, path: str) -> Iterator[Found]:
        """See Connection."""
        if not self._lists_by_name:
            try:
                with self._explained():
                    yield from self._listed(path)
                return
            except _NoFacts:
                self._lists_by_name = True
        with self._explained():
            names = self._lines(f"NLST {path}")
        for name in names:
            # Some servers answer with whole paths.
            base = name.rpartition("/")[2]
            found = self.look(f"{path.rstrip('/')}/{base}") if base not in ("", ".", "..") else None
            if found is not None:
                yield found

    def _listed(self, path: str) -> Iterator[Found]:
        try:
            lines = self._lines(f"MLSD {path}")
        except ftplib.error_perm as error:
            if str(error).startswith(_NOT_KNOWN):
                raise _NoFacts from None
            raise
        for line in lines:
            # type=file;size=1024;modify=20260101000000; name
            told, _, name = line.partition(" ")
            facts = dict(fact.lower().partition("=")[::2] for fact in told.split(";"))
            kind = facts.get("type", "")
            if kind in ("file", "dir"):
                size = int(facts["size"]) if facts.get("size", "").isdecimal() else None
                tag = facts.get("modify", "")
                yield Found(name, kind == "dir", size if kind == "file" else None, tag)
            elif kind not in ("cdir", "pdir"):  # a link, which each server has in its own way
                found = self.look(f"{path.rstrip('/')}/{name}")
                if found is not None:
                    yield found

    def _lines(self, command: str) -> list[str]:
        """The answer to a command that lists; no more of it than a model may have files."""
        lines: list[str] = []

        def add(line: str) -> None:
            lines.append(line)
            refuse_count(len(lines), self._location)

        self._ftp.retrlines(command, add)
        self._ftp.voidcmd("TYPE I")  # Lists are text; files and their sizes are not.
        return lines

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """See Connection."""
        with self._explained():
            try:
                data = self._ftp.transfercmd(f"RETR {path}", rest=start or None)
            except ftplib.error_perm as error:
                if start and str(error).startswith(_NOT_KNOWN):
                    raise CannotResume from None
                raise
            with data:
                while block := data.recv(BLOCK):
                    yield block
            self._ftp.voidresp()

    def close(self) -> None:
        """See Connection."""
        self._ftp.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make what ftplib raises within the block what the store knows."""
        try:
            yield
        except ftplib.error_temp as error:
            kind = Crowded if str(error).startswith("421") else Dropped
            raise kind(_short(error)) from None
        except ftplib.error_perm as error:
            raise ModelURIError(
                f"{self._location!r} cannot be read ({_short(error)}).",
                "Check the path, and what that user may read.",
            ) from None
        except UnicodeError:
            raise ModelURIError(
                f"{self._location!r} has names that are no UTF-8.", "Rename them on the server."
            ) from None
        except (OSError, EOFError, ftplib.error_proto, ftplib.error_reply) as error:
            raise Dropped(_short(error)) from None


def _short(error: Exception) -> str:
    text = "".join(filter(str.isprintable, str(error).splitlines()[0] if str(error) else ""))
    return text[:200] or type(error).__name__
