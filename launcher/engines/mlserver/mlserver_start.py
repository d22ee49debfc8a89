"""Start MLServer so that it stops well. A script for the model's environment, copied for it.

Usage: ``PYTHON mlserver_start.py FOLDER``, as ``mlserver start FOLDER``.

MLServer ends its workers first when it is to stop: what they have in hand is never answered, and
the HTTP server then waits for those answers until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from mlserver.cli.serve import load_settings
from mlserver.codecs.numpy import _NumpyToDatatype
from mlserver.logging import configure_logger
from mlserver.server import MLServer
from mlserver.types import Datatype
from mlserver.utils import install_uvloop_event_loop

# The texts of pandas 3 have a type of their own, which MLServer cannot answer with. Its workers
# import this file, too.
_NumpyToDatatype.setdefault("O", Datatype.BYTES)


class FinishingServer(MLServer):  # type: ignore[misc]
    """Takes no more requests at a stop, finishes those in flight, and ends the workers then."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._is_stopping = False
        self._has_answered = asyncio.Event()
        self._serve = self._rest_server.start
        self._rest_server.start = self._serve_http

    async def _serve_http(self) -> None:
        try:
            await self._serve()
        finally:
            self._has_answered.set()

    async def stop(self, sig: int | None = None) -> None:
        # The HTTP server sends itself the signal again when it has ended.
        if self._is_stopping:
            return
        self._is_stopping = True
        await self._rest_server.stop(sig)
        await asyncio.gather(self._has_answered.wait(), self._grpc_server.stop(sig))
        await super().stop(sig)


async def main(folder: str) -> None:
    settings, models = await load_settings(folder)
    await FinishingServer(settings).start(models)


if __name__ == "__main__":
    configure_logger()
    install_uvloop_event_loop()
    asyncio.run(main(sys.argv[1]))
