"""Models on SSH servers, as MLflow's `sftp:` artifacts, through paramiko. Hosts must be known."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from envs.extras import how_to_install
from launcher.artifacts.http import Patience
from launcher.artifacts.settings import web_settings
from launcher.artifacts.source import ModelURIError, Report
from launcher.artifacts.stores.hosts import Address, Dropped, Found, HostStore
from launcher.artifacts.transfer.download import refuse_count
from launcher.artifacts.uris import redact

_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_ALL_USERS_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_BLOCK = 256 * 1024
_REQUESTS = 64
"""Of 32 KiB each, sent ahead of the answers."""


def open_sftp_store(uri: str, report: Report) -> HostStore:
    """Return the store for an `sftp://USER:PASSWORD@HOST:PORT/path` URI.

    User, port, host name, keys and files of known hosts are those of ~/.ssh/config where the URI
    does not say; keys also come from an agent.

    :raises ModelURIError: it is of another form, or paramiko is not installed.
    """
    try:
        import paramiko  # noqa: F401
    except ImportError:
        raise ModelURIError(
            "sftp: URIs need the package paramiko, which is not installed.",
            f"Install it: {how_to_install('sftp')}",
        ) from None
    # What it logs of a failure is said by the error, and this has the password nowhere.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    address = Address.of(uri)
    location = redact(uri).rstrip("/")
    patience = web_settings(location).patience
    return HostStore(
        lambda: SftpConnection(address, location, patience),
        location,
        address.path,
        patience,
        report,
    )


class SftpConnection:
    """See Connection.

    :param location: what people call the model's place.
    """

    def __init__(self, address: Address, location: str, patience: Patience) -> None:
        import paramiko

        self._location = location
        config = _config_of(address.host)
        host = config.get("hostname", address.host)
        port = address.port or int(config.get("port", 22))
        self._client = paramiko.SSHClient()
        named = config.get("userknownhostsfile", _KNOWN_HOSTS).split()
        for file in (Path(name).expanduser() for name in (*named, _ALL_USERS_KNOWN_HOSTS)):
            if file.is_file():
                self._client.load_system_host_keys(str(file))
        # A list is as good as one; the stubs do not say so.
        keys: Any = [file for file in config.get("identityfile", ()) if Path(file).is_file()]
        self._client.set_missing_host_key_policy(_refusing(host, port))
        try:
            with self._explained(host, port):
                self._client.connect(
                    host,
                    port,
                    address.username or config.get("user"),
                    address.password,
                    key_filename=keys,
                    timeout=patience.connect_timeout,
                    banner_timeout=patience.connect_timeout,
                    auth_timeout=patience.read_timeout,
                    channel_timeout=patience.read_timeout,
                )
                self._sftp = self._client.open_sftp()
                channel = self._sftp.get_channel()
                assert channel is not None
                channel.settimeout(patience.read_timeout)
        except BaseException:
            self.close()
            raise
        self._host, self._port = host, port

    def look(self, path: str) -> Found | None:
        """See Connection."""
        with self._explained(self._host, self._port):
            try:
                return _found(path.rpartition("/")[2], self._sftp.stat(path))
            except FileNotFoundError:
                return None

    def entries(self, path: str) -> Iterator[Found]:
        """See Connection."""
        with self._explained(self._host, self._port):
            listed: list[Any] = []
            # Its requests are sent ahead: none may come between.
            for attributes in self._sftp.listdir_iter(path):
                listed.append(attributes)
                refuse_count(len(listed), self._location)
            for attributes in listed:
                if stat.S_ISLNK(attributes.st_mode or 0):
                    found = self.look(f"{path.rstrip('/')}/{attributes.filename}")
                else:
                    found = _found(attributes.filename, attributes)
                if found is not None:
                    yield found

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """See Connection."""
        with self._explained(self._host, self._port), self._sftp.open(path, "rb") as file:
            size = file.stat().st_size
            file.seek(start)
            # One answer for one request is a round trip for each 32 KiB.
            _send_quietly(file)
            file.prefetch(size, _REQUESTS)
            while block := file.read(_BLOCK):
                yield block

    def close(self) -> None:
        """See Connection."""
        self._client.close()

    @contextmanager
    def _explained(self, host: str, port: int) -> Iterator[None]:
        """Make what paramiko raises within the block what the store knows."""
        import paramiko

        try:
            yield
        except paramiko.BadHostKeyException:
            raise ModelURIError(
                f"{host} has another host key than the known one: it is another machine, or "
                "somebody between.",
                "If its key was changed on purpose, remove the old one and add the new: "
                f"ssh-keygen -R '{_known_as(host, port)}'",
            ) from None
        except paramiko.AuthenticationException:
            raise self._not_let_in() from None
        except FileNotFoundError:
            raise ModelURIError(
                f"A file of {self._location!r} is not there any more.", "Try again."
            ) from None
        except PermissionError:
            raise ModelURIError(
                f"No permission to read {self._location!r}.", "Check what that user may read."
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            if "No authentication methods" in str(error):  # neither a password nor a key to try
                raise self._not_let_in() from None
            raise Dropped(_short(error)) from None

    def _not_let_in(self) -> ModelURIError:
        return ModelURIError(
            f"The SSH server of {self._location!r} does not let the user in.",
            "Check the user in the URI or ~/.ssh/config, and that its key is in ~/.ssh or the "
            "agent (`ssh-add -l`); `sftp` on the command line uses the same.",
        )


def _config_of(host: str) -> Any:
    """What ~/.ssh/config says of a host."""
    import paramiko

    config = paramiko.SSHConfig()
    try:
        with Path("~/.ssh/config").expanduser().open() as file:
            config.parse(file)
    except FileNotFoundError:
        pass
    return config.lookup(host)


def _found(name: str, attributes: Any) -> Found | None:
    """A file or a folder; None for a device or whatever else there is."""
    mode = attributes.st_mode or 0
    if stat.S_ISDIR(mode):
        return Found(name, True)
    if not stat.S_ISREG(mode):
        return None
    return Found(name, False, attributes.st_size, str(attributes.st_mtime or ""))


def _send_quietly(file: Any) -> None:
    """Let its thread that sends ahead end without a traceback where the connection has.

    Who reads finds that out, too.
    """
    send = file._prefetch_thread

    def quiet(*arguments: Any) -> None:
        with suppress(OSError, EOFError):
            send(*arguments)

    file._prefetch_thread = quiet


def _known_as(host: str, port: int) -> str:
    return host if port == 22 else f"[{host}]:{port}"


def _refusing(host: str, port: int) -> Any:
    """A policy that refuses hosts that are not known, with what makes them so."""
    import paramiko

    class Policy(paramiko.MissingHostKeyPolicy):
        def missing_host_key(
            self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
        ) -> None:
            del client, hostname
            raise ModelURIError(
                f"The host key of {_known_as(host, port)} is not known here "
                f"({key.get_name()} {key.fingerprint}).",
                "If that is what its administrator says (`ssh-keygen -lf`), add it: "
                f"ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts",
            )

    return Policy()


def _short(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text[:200] or type(error).__name__
