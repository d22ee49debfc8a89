"""Real FTP and SFTP servers on the loopback address, with faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer

USER, PASSWORD = "mia", "a-very-secret:p@ss/word"


class Host:
    """A server of a folder: what it has sent, and what is to go wrong."""

    def __init__(self, scheme: str, folder: Path) -> None:
        self.scheme, self.folder = scheme, folder
        self.port = 0
        self.sent = 0
        self.cut_after: int | None = None
        """Bytes of files after which one connection is cut, once."""
        self.reads = 0
        self.logins: list[str] = []

    def uri(self, path: str, userinfo: str | None = None) -> str:
        user = f"{userinfo}@" if userinfo else ""
        return f"{self.scheme}://{user}127.0.0.1:{self.port}/{path}"

    def cuts_now(self, count: int) -> bool:
        self.sent += count
        if self.cut_after is not None and self.sent >= self.cut_after:
            self.cut_after = None
            return True
        return False


@contextlib.contextmanager
def ftp_server(folder: Path, **settings: Any) -> Iterator[Host]:
    """An FTP server for USER with PASSWORD, and for anonymous users below `public`.

    :param settings: `most` connections; commands that it has `without`; `names` that it lists
        in place of what is there.
    """
    host = Host("ftp", folder)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder))
    (folder / "public").mkdir(exist_ok=True)
    authorizer.add_anonymous(str(folder / "public"))

    class Transfer(DTPHandler):  # type: ignore[misc]
        def send(self, data: bytes) -> Any:
            sent = super().send(data)
            if self.cmd == "RETR" and host.cuts_now(sent):
                self.cmd_channel.close()
            return sent

    class Files(AbstractedFS):  # type: ignore[misc]
        def format_mlsx(self, *arguments: Any, **more: Any) -> Iterator[bytes]:
            if "names" not in settings:
                yield from super().format_mlsx(*arguments, **more)
            for name in settings.get("names", ()):
                yield f"type=file;size=1; {name}\r\n".encode()

    without = settings.get("without", ())
    known = {name: what for name, what in FTPHandler.proto_cmds.items() if name not in without}

    class Handler(FTPHandler):  # type: ignore[misc]
        dtp_handler = Transfer
        abstracted_fs = Files
        proto_cmds = known
        use_sendfile = False
        auth_failed_timeout = 0

        def on_login(self, username: str) -> None:
            host.logins.append(username)

        def ftp_RETR(self, file: str) -> Any:
            host.reads += 1
            return super().ftp_RETR(file)

    Handler.authorizer = authorizer
    server = FTPServer(("127.0.0.1", 0), Handler)
    server.max_cons_per_ip = settings.get("most", 0)
    host.port = server.address[1]
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            server.serve_forever(timeout=0.01, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        stopped.set()
        thread.join()


@contextlib.contextmanager
def sftp_server(folder: Path, key: asyncssh.SSHKey, client_key: str = "") -> Iterator[Host]:
    """An SFTP server for USER with PASSWORD, or with the key whose public half is `client_key`."""
    host = Host("sftp", folder)

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            host.logins.append(username)
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            shown = key.export_public_key().decode().split()[:2]
            return username == USER and shown == client_key.split()[:2]

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=str(folder).encode())
            self._channel = channel

        def open(self, *arguments: Any) -> Any:
            host.reads += 1
            return super().open(*arguments)

        def read(self, file_obj: Any, offset: int, size: int) -> Any:
            data = super().read(file_obj, offset, size)
            assert isinstance(data, bytes)
            if host.cuts_now(len(data)):
                self._channel.get_connection().abort()
            return data

    loop = asyncio.new_event_loop()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=Files
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    host.port = server.get_port()

    async def stop() -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
