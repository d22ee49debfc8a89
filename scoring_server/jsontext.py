"""JSON text to Python values and back: orjson where the environment has it, else the standard
library, with the same values either way.

What orjson reads differently (numbers beyond 64 bits, `NaN`, lone surrogates, UTF-16) is left to
the standard library, which is what MLflow uses.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import ScoringError

orjson: Any
try:
    import orjson
except ImportError:
    orjson = None

_DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
# From 19 digits on an integer may not fit into 64 bits.
_LONG_NUMBER = b"0" * 19
# Python's own limit (sys.set_int_max_str_digits); older Pythons take minutes for such numbers.
MAX_DIGITS = 4300
_HUGE_NUMBER = b"0" * (MAX_DIGITS + 1)


def loads(body: bytes) -> Any:
    """Decode a JSON body; raises `ScoringError` (BAD_REQUEST) where it is not JSON."""
    digits = body.translate(_DIGITS_TO_ZERO)
    if orjson is not None and _LONG_NUMBER not in digits:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    if _HUGE_NUMBER in digits:
        raise ScoringError("the body has a number of more than {} digits".format(MAX_DIGITS))
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ScoringError("the body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ScoringError("the body is not UTF-8: {}".format(error)) from error
    except ValueError as error:
        raise ScoringError("the body is not JSON: {}".format(error)) from error
