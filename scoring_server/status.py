"""What a server process tells the launcher: events on a pipe."""

import os
import select
from typing import Optional

from .events import Event, encode


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

    def send(self, event: Event) -> None:
        """Send one event. Lines under PIPE_BUF bytes arrive whole, whichever process sends them."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, encode(event))
        except OSError:
            # The launcher is gone, and the lifeline ends this process; or the model closed it.
            self._descriptor = None

    def send_if_read(self, event: Event) -> None:
        """Send an event that may be left out, unless the launcher does not read at present."""
        try:
            if self._descriptor is None or not select.select([], [self._descriptor], [], 0)[1]:
                return
        except (OSError, ValueError):  # as in `send`
            self._descriptor = None
        self.send(event)
