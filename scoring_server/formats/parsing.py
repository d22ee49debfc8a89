"""A request body turned into what the model's signature is applied to.

The formats are MLflow's scoring protocol: CSV, Parquet, and JSON with exactly one of
`dataframe_split`, `dataframe_records`, `instances`, `inputs`, or a raw payload (`messages`,
`prompt`, `input`) that is passed on as it is. Streams of Arrow's are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence

import pandas as pd

from ..errors import ScoringError, quote, reason, type_name
from ..signature.casting import cast_inputs, cast_instances
from ..signature.signature import Signature
from . import json_body
from .arrow_body import ARROW_TYPE, read_arrow
from .csv_body import parse_csv
from .parquet_body import read_parquet

FORMAT_KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs")
RAW_KEYS = ("messages", "prompt", "input")
ARROW, CSV, JSON, PARQUET = "arrow", "csv", "json", "parquet"

CSV_TYPE, PARQUET_TYPE = "text/csv", "application/vnd.apache.parquet"
# The names that clients are told of, and others that they use.
MEDIA_TYPES = {
    "application/json": JSON,
    CSV_TYPE: CSV,
    "application/csv": CSV,
    PARQUET_TYPE: PARQUET,
    "application/x-parquet": PARQUET,
    ARROW_TYPE: ARROW,
}
# What is a table already, and may be compressed.
OF_TABLES = (ARROW, PARQUET)
UNSUPPORTED_MEDIA_TYPE = 415


@dataclass(frozen=True)
class ContentType:
    """A `Content-Type` header that is understood.

    :param format: ARROW, CSV, JSON or PARQUET.
    :param header: CSV's parameter: whether there is one; None where it is not said.
    """

    format: str
    header: Optional[bool] = None


@dataclass
class ModelInput:
    """A parsed request.

    :param is_raw: it is not rows of anything: it is passed on as it is, and so is the answer.
    :param stream: the client wants the answer in pieces, where the model can.
    :param fits: the data is what the signature wants, so that it need not be enforced.
    :param trace: headers that name the span which those of the model are below; None for none.
    :param answer_types: the media types that the client takes a whole answer in, the best first;
        none: the one that the protocol always has.
    """

    data: Any
    params: Any = None
    is_raw: bool = False
    stream: bool = False
    fits: bool = False
    trace: Optional[Dict[str, str]] = None
    answer_types: Sequence[str] = ()


def parse_content_type(value: Optional[str]) -> ContentType:
    """Read a `Content-Type` header.

    :raises ScoringError: it names no format that is read here (status 415).
    """
    if not value:
        raise _unsupported("The request has no Content-Type")
    media_type, *parameters = [part.strip() for part in value.split(";")]
    found = MEDIA_TYPES.get(media_type.lower())
    if found is None:
        raise _unsupported("Content-Type {} is not supported".format(quote(media_type)))
    header = None
    for parameter in filter(None, parameters):
        name, _, text = parameter.partition("=")
        name, text = name.strip().lower(), text.strip().strip('"').lower()
        if name == "charset":
            if text not in ("utf-8", "utf8"):
                raise _unsupported(
                    "Only the charset UTF-8 is supported, not {}".format(quote(text))
                )
        elif name == "header" and found == CSV and text in ("present", "absent"):
            header = text == "present"
        else:
            raise _unsupported(
                "The Content-Type parameter {} is not known".format(quote(parameter))
            )
    return ContentType(found, header)


def _unsupported(message: str) -> ScoringError:
    accepted = ", ".join(MEDIA_TYPES)
    return ScoringError(
        "{}; send one of {}.".format(message, accepted), status=UNSUPPORTED_MEDIA_TYPE
    )


def parse(
    body: bytes, content_type: ContentType, signature: Signature, max_decoded: int
) -> ModelInput:
    """Turn a body into the model's input.

    :param max_decoded: how many bytes a compressed table (Parquet, Arrow) may grow to.
    :raises ScoringError: it has not the format, or does not fit the signature.
    """
    if content_type.format == JSON:
        return parse_json_text(body, signature)
    if content_type.format == CSV:
        return ModelInput(parse_csv(body, content_type.header, signature))
    if content_type.format == ARROW:
        data, fits = read_arrow(body, max_decoded, signature)
        return ModelInput(data, fits=fits)
    return ModelInput(read_parquet(body, max_decoded))


def parse_json_text(body: bytes, signature: Signature) -> ModelInput:
    """Turn a JSON body into the model's input; raises as `parse` does."""
    document = json_body.loads(body)
    if isinstance(document, dict):
        json_body.check_duplicates(body, document, (*FORMAT_KEYS, "params"))
    return parse_json(document, signature)


def parse_json(document: Any, signature: Signature) -> ModelInput:
    """Turn a decoded JSON body into the model's input; raises as `parse` does."""
    if _is_list_of_records(document):
        document = {"dataframe_records": document}
    if not isinstance(document, dict):
        raise ScoringError("Expected {}, got {}.".format(_expected(), type_name(document)))
    if any(key in document for key in RAW_KEYS):
        return raw_input(document, signature)
    params = document.get("params")
    if signature.from_type_hint:
        if "inputs" not in document:
            raise ScoringError(
                'This model\'s signature comes from type hints: send {{"inputs": ...}},'
                " got the keys {}.".format(quote(list(document))),
                "INVALID_PARAMETER_VALUE",
            )
        return ModelInput(document["inputs"], params)
    keys = [key for key in FORMAT_KEYS if key in document]
    if len(keys) != 1:
        raise ScoringError(
            "Expected {}, got the keys {}.".format(_expected(), quote(list(document)))
        )
    form, value = keys[0], document[keys[0]]
    if signature.plain_rows is not None:
        frame = signature.plain_rows.read(form, value)
        if frame is not None:
            return ModelInput(frame, params, fits=True)
    return ModelInput(_PARSERS[form](value, signature), params)


def raw_input(document: Dict[str, Any], signature: Signature) -> ModelInput:
    """The input that is passed on as it is, but for what the signature has as params."""
    names = signature.params.names
    return ModelInput(
        data={key: value for key, value in document.items() if key not in names},
        params={key: value for key, value in document.items() if key in names},
        is_raw=True,
    )


def _is_list_of_records(document: Any) -> bool:
    return (
        isinstance(document, list)
        and len(document) > 0
        and all(isinstance(item, dict) for item in document)
    )


def _expected() -> str:
    return "a JSON object with exactly one of {}".format(", ".join(FORMAT_KEYS))


def _parse_split(value: Any, signature: Signature) -> pd.DataFrame:
    if not isinstance(value, dict):
        raise ScoringError(
            "Expected an object as dataframe_split, got {}.".format(type_name(value))
        )
    if "data" not in value or set(value) - {"columns", "data", "index"}:
        raise ScoringError(
            "Expected data and optionally columns and index in dataframe_split, got {}.".format(
                quote(sorted(value))
            )
        )
    data, index = value["data"], value.get("index")
    # pandas would fill a whole table with one value that was sent once.
    if not isinstance(data, (list, dict)):
        raise ScoringError("In dataframe_split data must be rows, got {}.".format(type_name(data)))
    if isinstance(index, list) and isinstance(data, list) and len(index) != len(data):
        raise ScoringError(
            "The dataframe_split has {} rows but an index of {}.".format(len(data), len(index))
        )
    try:
        frame = pd.DataFrame(
            index=index, columns=value.get("columns"), data=data, dtype=signature.frame_dtype
        )
    except Exception as error:
        raise ScoringError("The dataframe_split is no table: {}.".format(reason(error))) from error
    if any(isinstance(name, (list, dict)) for name in frame.columns):
        raise ScoringError("The columns of dataframe_split must be names.")
    return _cast(frame, signature)


def _parse_records(value: Any, signature: Signature) -> pd.DataFrame:
    if not isinstance(value, list):
        raise ScoringError("Expected a list as dataframe_records, got {}.".format(type_name(value)))
    try:
        frame = pd.DataFrame(data=value, dtype=signature.frame_dtype)
    except Exception as error:
        raise ScoringError(
            "The dataframe_records are no table: {}.".format(reason(error))
        ) from error
    return _cast(frame, signature)


def _cast(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    return frame if signature.frame_caster is None else signature.frame_caster.cast(frame)


_PARSERS: Dict[str, Any] = {
    "dataframe_split": _parse_split,
    "dataframe_records": _parse_records,
    "instances": lambda value, signature: cast_instances(value, signature.schema),
    "inputs": lambda value, signature: cast_inputs(value, signature.schema),
}
