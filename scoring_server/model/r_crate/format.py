"""The numbers of R's serialization format: `serialize(x, NULL, xdr = FALSE, version = 2)`.

They are those of `serialize.c` and `Rinternals.h`; "R Internals" describes the format in its
section "Serialization Formats". It holds every double, every missing value and every text as it is,
and base R reads and writes it.
"""

from __future__ import annotations

import struct

import numpy as np

# SEXPTYPEs, and what stands for NULL and for symbols that have come before.
SYMBOL, PAIRLIST, CHARS = 1, 2, 9
LOGICAL, INTEGER, DOUBLE, TEXTS, LIST, RAW = 10, 13, 14, 16, 19, 24
NULL, REFERENCE = 254, 255
# Flags beside the type.
HAS_CLASS, HAS_ATTRIBUTES, HAS_TAG = 1 << 8, 1 << 9, 1 << 10
IS_LATIN1, IS_UTF8, IS_ASCII = 1 << 14, 1 << 15, 1 << 18

# Binary in the machine's own byte order; version 2; written by R 3.5.0, for 2.3.0 and newer.
HEAD = b"B\n" + struct.pack("=iii", 2, 0x00030500, 0x00020300)

INT = struct.Struct("=i")
TWO_INTS = struct.Struct("=ii")

# NA of integers and logicals.
NA_INTEGER = -(1 << 31)
# `R_ValueOfNA`: a NaN whose lower word is 1954.
NA_DOUBLE = np.array([0x7FF00000000007A2], np.uint64).view(np.float64)[0]
