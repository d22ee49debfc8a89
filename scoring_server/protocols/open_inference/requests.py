"""An inference request, read and checked: what it says, before its tensors are decoded."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ...errors import ScoringError, quote, type_name
from ...formats import json_body
from .datatypes import BYTES, DTYPES, OF_REQUESTS, OF_TENSORS

# The length of the JSON in a body that has binary tensors behind it.
LENGTH_HEADER = "Inference-Header-Content-Length"
# Of each input, where its data is binary; of each output, and of all together.
BINARY_SIZE, BINARY_OUTPUT, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
CONTENT_TYPE = "content_type"
# What numpy has room for, and far more than a body has.
MOST_DIMENSIONS = 32
MOST_ELEMENTS = 2**40
# More inputs than that are no table: pandas takes 0.1 ms for each.
MOST_INPUTS = 65536


class Tensor(NamedTuple):
    """An input tensor as it was sent: `data` (JSON values) or `raw` (bytes) has its elements.

    `size` is how many elements its shape has.
    """

    name: str
    shape: Tuple[int, ...]
    size: int
    datatype: str
    content_type: Optional[str]
    data: Any
    raw: Optional[memoryview]

    @property
    def rows(self) -> int:
        """The length of the first dimension."""
        return self.shape[0] if self.shape else 1

    def problem(self, message: str) -> ScoringError:
        """The error for this input."""
        return _problem(self.name, message)


class Wanted(NamedTuple):
    """An output that the client asks for."""

    name: str
    is_binary: bool


class InferenceRequest(NamedTuple):
    """The document of a request. `outputs` is None where all are wanted."""

    id: Optional[str]
    content_type: Optional[str]
    params: Dict[str, Any]
    inputs: List[Tensor]
    outputs: Optional[List[Wanted]]
    is_answer_binary: bool


def read_request(body: bytes, headers: Dict[str, str]) -> InferenceRequest:
    """Read a body.

    :raises ScoringError: it is not what the protocol says.
    """
    text, binary = _split(body, headers.get(LENGTH_HEADER.lower()))
    document = _object(json_body.loads(text), "The body")
    json_body.check_duplicates(text, document, ("inputs", "outputs"))
    inputs, at = [], 0
    names = set()
    for value in _list(document.get("inputs"), "Inputs"):
        tensor = _tensor(_object(value, "An input"), binary, at)
        if tensor.name in names:
            raise tensor.problem("it was sent more than once.")
        names.add(tensor.name)
        at += 0 if tensor.raw is None else len(tensor.raw)
        inputs.append(tensor)
    if at != len(binary):
        message = "The body has {} bytes after its JSON, and inputs of {} bytes in all."
        raise ScoringError(message.format(len(binary), at))
    if not 0 < len(inputs) <= MOST_INPUTS:
        raise ScoringError("Expected 1 to {} inputs, got {}.".format(MOST_INPUTS, len(inputs)))
    params = dict(_parameters(document, "The parameters"))
    content_type = _content_type(params, OF_REQUESTS)
    # MLServer's own: the headers of the request.
    params.pop("headers", None)
    is_binary = params.pop(ALL_BINARY, False) is True
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise ScoringError("The id must be text, got {}.".format(type_name(request_id)))
    outputs = _outputs(document.get("outputs"), is_binary)
    return InferenceRequest(request_id, content_type, params, inputs, outputs, is_binary)


def _split(body: bytes, length: Optional[str]) -> Tuple[bytes, memoryview]:
    """The JSON and what comes after it."""
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > len(body):
        message = "The header {} must be a number up to {}, got {}."
        raise ScoringError(message.format(LENGTH_HEADER, len(body), quote(length)))
    size = int(length)
    return body[:size], memoryview(body)[size:]


def _tensor(document: Dict[str, Any], binary: memoryview, at: int) -> Tensor:
    name, datatype = document.get("name"), document.get("datatype")
    if not isinstance(name, str):
        raise ScoringError("An input's name must be text, got {}.".format(type_name(name)))
    if not isinstance(datatype, str) or (datatype not in DTYPES and datatype != BYTES):
        known = ", ".join([*DTYPES, BYTES])
        message = "expected one of the datatypes {}, got {}."
        raise _problem(name, message.format(known, quote(datatype)))
    shape, size = _shape(name, document.get("shape"))
    parameters = document.get("parameters")
    content_type = length = None
    if parameters:
        parameters = dict(_parameters(document, "An input's parameters"))
        content_type = _content_type(parameters, (*OF_TENSORS, *OF_REQUESTS))
        length = parameters.get(BINARY_SIZE)
    if length is None:
        if "data" not in document:
            raise _problem(name, "it has no data.")
        return Tensor(name, shape, size, datatype, content_type, document["data"], None)
    if "data" in document:
        raise _problem(name, "it has both data and {}.".format(BINARY_SIZE))
    if type(length) is not int or not 0 <= length <= len(binary) - at:
        message = "{} must be a number of bytes that the body has, got {}."
        raise _problem(name, message.format(BINARY_SIZE, quote(length)))
    raw = binary[at : at + length]
    return Tensor(name, shape, size, datatype, content_type, None, raw)


def _problem(name: str, message: str) -> ScoringError:
    return ScoringError("Input {}: {}".format(quote(name), message))


def _shape(name: str, value: Any) -> Tuple[Tuple[int, ...], int]:
    """The shape and its number of elements."""
    is_shape = isinstance(value, list) and len(value) <= MOST_DIMENSIONS
    if not is_shape or not all(type(each) is int and each >= 0 for each in value):
        message = "expected a shape of up to {} numbers from 0 on, got {}."
        raise _problem(name, message.format(MOST_DIMENSIONS, quote(value)))
    size = 1
    for each in value:
        size *= each or 1
    # Rows without elements say nothing and cost much.
    if size > MOST_ELEMENTS or 0 in value[1:]:
        raise _problem(name, "no tensor can have the shape {}.".format(quote(value)))
    return tuple(value), 0 if value[:1] == [0] else size


def _outputs(value: Any, is_binary: bool) -> Optional[List[Wanted]]:
    if value is None or value == []:
        return None
    wanted = []
    for each in _list(value, "Outputs"):
        name = _object(each, "An output").get("name")
        if not isinstance(name, str):
            raise ScoringError("An output's name must be text, got {}.".format(type_name(name)))
        parameters = _parameters(each, "An output's parameters")
        wanted.append(Wanted(name, parameters.get(BINARY_OUTPUT, is_binary) is True))
    return wanted


def _content_type(parameters: Dict[str, Any], known: Tuple[str, ...]) -> Optional[str]:
    """Take the content type out of parameters."""
    value = parameters.pop(CONTENT_TYPE, None)
    if value is not None and value not in known:
        message = "Expected one of the content types {}, got {}."
        raise ScoringError(message.format(", ".join(dict.fromkeys(known)), quote(value)))
    return value


def _parameters(document: Dict[str, Any], what: str) -> Dict[str, Any]:
    value = document.get("parameters")
    return {} if value is None else _object(value, what)


def _object(value: Any, what: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise ScoringError("{} must be an object, got {}.".format(what, type_name(value)))
    return value


def _list(value: Any, what: str) -> List[Any]:
    if not isinstance(value, list):
        raise ScoringError("{} must be a list, got {}.".format(what, type_name(value)))
    return value
