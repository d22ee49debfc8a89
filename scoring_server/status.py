"""What a server process tells the launcher: one JSON object a line, on a pipe."""

import json
import os
import select
from typing import Any, Optional


class StatusChannel:
    """Writes events to the launcher; does nothing where there is none.

    :param descriptor: the write end of a pipe, or None.
    """

    def __init__(self, descriptor: Optional[int]) -> None:
        self._descriptor = descriptor

    @property
    def is_open(self) -> bool:
        """Whether anyone gets the events."""
        return self._descriptor is not None

    def send(self, event: str, **fields: Any) -> None:
        """Send one event. Lines under PIPE_BUF bytes arrive whole, whichever process sends them.

        :param event: ``loading``, ``loaded``, ``ready``, ``failed`` or ``progress``.
        :param fields: JSON values.
        """
        if self._descriptor is None:
            return
        line = json.dumps(dict(fields, event=event)).encode() + b"\n"
        try:
            os.write(self._descriptor, line)
        except BrokenPipeError:
            # The launcher is gone; the lifeline ends this process.
            self._descriptor = None

    def send_if_read(self, event: str, **fields: Any) -> None:
        """Send an event that may be left out, unless the launcher does not read at present."""
        if self._descriptor is not None and select.select([], [self._descriptor], [], 0)[1]:
            self.send(event, **fields)
