"""What becomes of an exception that nobody in the front expected: the front goes on.

It is logged, and the connection or process whose callback raised it is given up: what it was in
the midst of may be half done.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Dict

logger = logging.getLogger(__name__)


def survive(_loop: asyncio.AbstractEventLoop, context: Dict[str, Any]) -> None:
    """Log what a callback raised, and give up whom it was for; a loop's exception handler.

    :param context: as `asyncio.loop.call_exception_handler` has it.
    """
    error = context.get("exception")
    logger.error("%s", context.get("message"), exc_info=error)
    whose = context.get("protocol")
    if whose is None:
        # A handle does not tell of what it runs otherwise.
        callback = getattr(context.get("handle"), "_callback", None)
        whose = getattr(callback, "__self__", None)
    give_up(whose)


def give_up(whose: Any) -> None:
    """Close a connection, or replace a process, whose handling has failed."""
    abort = getattr(whose, "abort", None)
    if abort is None:
        return
    try:
        abort()
    except Exception:
        logger.exception("%r could not be given up.", whose)
