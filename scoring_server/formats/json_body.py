"""JSON text to Python values: by orjson where the environment has it, else the standard library.

The values are the same either way: what orjson reads differently (numbers beyond 64 bits, `NaN`,
lone surrogates, UTF-16) is left to the standard library, which is what MLflow uses.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any, Dict, Iterable, List, Tuple

from ..errors import ScoringError

# The first release that refuses deeply nested text; earlier ones overflow the stack.
_ORJSON_BOUNDS_DEPTH = (3, 9, 15)


def _import_orjson() -> Any:
    try:
        module: Any = importlib.import_module("orjson")
    except ImportError:
        return None
    numbers = tuple(int(number) for number in re.findall(r"\d+", module.__version__)[:3])
    return module if numbers >= _ORJSON_BOUNDS_DEPTH else None


orjson = _import_orjson()

_DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
# From 19 digits on an integer may not fit into 64 bits.
_LONG_NUMBER = b"0" * 19
# Python's own limit (sys.set_int_max_str_digits); older Pythons take minutes for such numbers.
MAX_DIGITS = 4300
_HUGE_NUMBER = b"0" * (MAX_DIGITS + 1)


def loads(body: bytes) -> Any:
    """Decode a JSON body.

    :raises ScoringError: it is not JSON, or beyond what is read of it (BAD_REQUEST).
    """
    # A copy of the body each time, that nobody holds while it is decoded.
    if orjson is not None and _LONG_NUMBER not in body.translate(_DIGITS_TO_ZERO):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        if _HUGE_NUMBER in body.translate(_DIGITS_TO_ZERO):
            return json.loads(body, parse_int=_bounded_int)
        return json.loads(body)
    except RecursionError as error:
        raise ScoringError("The body is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise ScoringError("The body is not UTF-8: {}.".format(error)) from error
    except ValueError as error:
        raise ScoringError("The body is not JSON: {}.".format(error)) from error


def _bounded_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ScoringError("The body has a number of more than {} digits.".format(MAX_DIGITS))
    return int(text)


def check_duplicates(body: bytes, document: Dict[str, Any], keys: Iterable[str]) -> None:
    """Refuse a body whose top level has one of `keys` twice: a decoder keeps the last, silently.

    :param document: what `loads` made of the body.
    :raises ScoringError: there is one.
    """
    doubtful = [key for key in keys if key in document and body.count(_quoted(key)) > 1]
    if not doubtful:
        return
    found: List[str] = []

    def remember(pairs: List[Tuple[str, Any]]) -> None:
        # Called for inner objects first and for the outermost last.
        found[:] = [key for key, _ in pairs]

    json.loads(body, object_pairs_hook=remember)
    for key in doubtful:
        if found.count(key) > 1:
            raise ScoringError("The body has the key {!r} twice.".format(key))


def _quoted(key: str) -> bytes:
    return b'"' + key.encode("ascii") + b'"'
