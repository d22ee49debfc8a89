"""The protocol's datatypes and content types, and which of them belong to a model's signature.

Datatypes: https://github.com/kserve/open-inference-protocol, "Tensor Data Types". Content types say
what the elements of a tensor stand for; they are MLServer's, as is their mapping from signatures.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ...signature.schema import (
    BINARY,
    BOOLEAN,
    DATETIME,
    DOUBLE,
    FLOAT,
    INTEGER,
    LONG,
    STRING,
    DataType,
    Schema,
    Tensor,
)

BYTES = "BYTES"
# The numpy dtype of each datatype but BYTES, in the byte order that binary tensors have.
DTYPES: Dict[str, np.dtype] = {
    "BOOL": np.dtype(bool),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
# The same in this machine's order.
NATIVE = {name: dtype.newbyteorder("=") for name, dtype in DTYPES.items()}
_DATATYPES = {dtype: name for name, dtype in NATIVE.items()}

# Of one tensor: numbers or texts as an array, texts, bytes, times, a JSON text an element.
ARRAY, TEXT, BASE64, TIME, JSON = "np", "str", "base64", "datetime", "pd_json"
# Of a whole request or answer: a column a tensor, a dict of arrays. (An array and texts, too.)
TABLE, DICT = "pd", "dict"
OF_TENSORS = (ARRAY, TEXT, BASE64, TIME, JSON)
OF_REQUESTS = (TABLE, DICT, ARRAY, TEXT)
# What nameless tensors are called, before their number.
INPUT_PREFIX, OUTPUT_PREFIX = "input-", "output-"

_OF_COLUMNS: Dict[DataType, Tuple[str, str]] = {
    BOOLEAN: ("BOOL", ARRAY),
    INTEGER: ("INT32", ARRAY),
    LONG: ("INT64", ARRAY),
    FLOAT: ("FP32", ARRAY),
    DOUBLE: ("FP64", ARRAY),
    STRING: (BYTES, TEXT),
    BINARY: (BYTES, BASE64),
    DATETIME: (BYTES, TIME),
}


class Description(NamedTuple):
    """A tensor as the metadata has it."""

    name: str
    datatype: str
    shape: List[int]
    content_type: str


def datatype_of(dtype: np.dtype) -> str:
    """The datatype for an array's dtype; BYTES for all that are no numbers of a known size."""
    found = _DATATYPES.get(dtype)
    return _DATATYPES.get(dtype.newbyteorder("="), BYTES) if found is None else found


def describe(schema: Schema, prefix: str) -> List[Description]:
    """The tensors of a signature's inputs or outputs.

    :param prefix: what the nameless ones are called, before their number.
    """
    described = []
    for number, spec in enumerate(schema.inputs):
        name = spec.name or "{}{}".format(prefix, number)
        if isinstance(spec, Tensor):
            shape = list(spec.shape)
            described.append(Description(name, datatype_of(spec.dtype), shape, ARRAY))
            continue
        kind: Any = spec.type
        # Arrays, objects, maps and what may be anything are JSON.
        datatype, content_type = _OF_COLUMNS.get(kind, (BYTES, JSON))
        described.append(Description(name, datatype, [-1, 1], content_type))
    return described


def content_type_of(schema: Optional[Schema]) -> Optional[str]:
    """The content type of requests to a model; None where no signature says it."""
    if schema is None:
        return None
    if not schema.is_tensor:
        return TABLE
    return DICT if schema.is_named else ARRAY
