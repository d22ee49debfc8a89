"""Where the model comes from: a web server that can go away, or say nothing."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed break their connections: nothing to print."""


class Source:
    """Serves one archive on 127.0.0.1.

    :param content: the archive's bytes.
    :param name: the host in its URL.
    :param is_silent: whether it answers nothing until `come_back`.
    """

    def __init__(self, content: bytes, name: str = "127.0.0.1", *, is_silent: bool = False) -> None:
        self._content = content
        self._edition = 0
        self._answers = threading.Event()
        if not is_silent:
            self._answers.set()
        self._sent_of_each = 1.0
        self.is_asked = threading.Event()
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.is_asked.set()
                source._answers.wait()
                sent = int(source._sent_of_each * len(content))
                if not sent:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("ETag", source._tag())
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content[:sent])
                self.close_connection = sent < len(content)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://{name}:{self._server.server_address[1]}/model.tar.gz"

    @property
    def is_silent(self) -> bool:
        return not self._answers.is_set()

    def _tag(self) -> str:
        return f'"{hashlib.sha256(self._content).hexdigest()[:16]}-{self._edition}"'

    def move(self) -> None:
        """Have another edition of the model from now on."""
        self._edition += 1

    def go_away(self) -> None:
        """Break every connection before an answer."""
        self._sent_of_each = 0.0
        self._answers.set()

    def break_off(self) -> None:
        """Break every connection within the answer."""
        self._sent_of_each = 0.5
        self._answers.set()

    def fall_silent(self) -> None:
        """Take requests and answer none."""
        self._answers.clear()

    def come_back(self) -> None:
        self._sent_of_each = 1.0
        self._answers.set()

    def close(self) -> None:
        self.come_back()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
