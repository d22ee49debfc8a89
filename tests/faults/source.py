"""Where the model comes from: a web server that can go away, or say nothing."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Source:
    """Serves one archive on 127.0.0.1.

    :param content: the archive's bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._answers = threading.Event()
        self._answers.set()
        self._is_gone = False
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source._answers.wait()
                if source._is_gone:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/model.tar.gz"

    def go_away(self) -> None:
        """Break every connection before an answer."""
        self._is_gone = True

    def fall_silent(self) -> None:
        """Take requests and answer none."""
        self._answers.clear()

    def come_back(self) -> None:
        self._is_gone = False
        self._answers.set()

    def close(self) -> None:
        self.come_back()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
