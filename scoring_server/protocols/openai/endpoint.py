"""What the paths of predictions share: a JSON request, an object or events for an answer."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, List, Optional

import numpy as np
import pandas as pd

from ...errors import INTERNAL_ERROR, ScoringError, type_name
from ...formats import json_body
from ...formats.encoding import dumps, top_level
from ...formats.parsing import ModelInput, raw_input
from ...signature.schema import Array, DataType
from ...signature.signature import Signature
from .api import RequestError

Document = Dict[str, Any]
DONE = b"data: [DONE]\n\n"


@dataclass
class OpenAIInput(ModelInput):
    """The model's input, and what its answer has to know again.

    :param sent: the request, but for its `model`.
    :param model: the model's name, for answers that have none of their own.
    """

    sent: Document = field(default_factory=dict)
    model: str = ""


class Endpoint:
    """One path of the API: reads its requests, writes its objects and events."""

    def decode(self, body: bytes) -> Document:
        """The parameters of a request. Those that are null are as good as not sent.

        :raises ScoringError: it is no JSON object.
        """
        document = json_body.loads(body)
        if not isinstance(document, dict):
            raise ScoringError("Expected a JSON object, got {}.".format(type_name(document)))
        return without_nulls(document)

    def read(self, sent: Document, signature: Signature, model: str) -> OpenAIInput:
        """The model's input: the parameters as `/invocations` would pass them on.

        :param model: the model's name.
        :raises RequestError: one of them is missing or wrong.
        """
        found = raw_input(self.prepare(sent, signature), signature)
        is_stream = sent.get("stream") is True
        return OpenAIInput(found.data, found.params, True, is_stream, sent=sent, model=model)

    def prepare(self, sent: Document, signature: Signature) -> Document:
        """The parameters, as far as models and this API have them in different forms.

        :raises RequestError: one of them is missing or wrong.
        """
        raise NotImplementedError

    def write(self, predictions: Any, asked: OpenAIInput) -> bytes:
        """The object that answers, as JSON.

        :raises ScoringError: the model's answer cannot be made one.
        """
        return dumps(self.answer(unwrapped(predictions), asked))

    def answer(self, answer: Any, asked: OpenAIInput) -> Document:
        """The object that answers; raises as `write` does."""
        raise NotImplementedError

    def whole(self, predictions: Any, asked: OpenAIInput) -> Iterator[bytes]:
        """The events for an answer that the model gave at once; raises as `write` does."""
        raise NotImplementedError

    def events(self, chunks: Iterator[Any], asked: OpenAIInput) -> Iterator[bytes]:
        """The events for the model's chunks; the first of them comes before any event."""
        raise NotImplementedError

    def error_event(self, error: Document) -> bytes:
        """The last event of a stream that failed."""
        return event({"error": error})


def event(document: Document, name: Optional[str] = None) -> bytes:
    """A server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + dumps(document) + b"\n\n"


def new_id(prefix: str) -> str:
    """An id as the API has them, such as `chatcmpl-...`."""
    return prefix + uuid.uuid4().hex


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def without_nulls(document: Document) -> Document:
    """The document without what is null in it."""
    return {key: value for key, value in document.items() if value is not None}


def plain(value: Any) -> Any:
    """A model's answer, or a part of it, as JSON's types: also that of a class of MLflow's."""
    if isinstance(value, (pd.DataFrame, pd.Series, np.ndarray)):
        return top_level(value)
    for name in ("model_dump", "to_dict"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value.item() if isinstance(value, np.generic) else value


def unwrapped(predictions: Any) -> Any:
    """What the model returned; of a list of one, that one."""
    answer = plain(predictions)
    while isinstance(answer, (list, tuple)) and len(answer) == 1:
        answer = plain(answer[0])
    return answer


def each(answer: Any) -> List[Any]:
    """The items of an answer that may be one or a list of them."""
    items: Iterable[Any] = answer if isinstance(answer, (list, tuple)) else [answer]
    return [plain(item) for item in items]


def no_answer(kind: str, value: Any) -> ScoringError:
    """The error for what the model returned in place of what it should."""
    message = "The model's answer is no {}: it is {}.".format(kind, type_name(value))
    return ScoringError(message, INTERNAL_ERROR)


def column_type(signature: Signature, name: str) -> Any:
    """The type that the signature has for a column; None where it has none."""
    schema = signature.schema
    return None if schema is None else getattr(schema.by_name.get(name), "type", None)


def is_text(kind: Any) -> bool:
    """Whether a type of a signature is one text."""
    return isinstance(kind, DataType) and kind.name == "string"


def as_list(sent: Document, name: str, signature: Signature) -> None:
    """Make a list of one text where the API takes both and the signature has a list."""
    if isinstance(sent.get(name), str) and isinstance(column_type(signature, name), Array):
        sent[name] = [sent[name]]


def need(sent: Document, name: str, kinds: Any, expected: str) -> Any:
    """A parameter that must be there.

    :param expected: what it must be, for people.
    :raises RequestError: it is missing, or something else.
    """
    value = sent.get(name)
    if not isinstance(value, kinds):
        message = "{} must be {}, got {}."
        got = "nothing" if value is None else type_name(value)
        raise RequestError(message.format(name.capitalize(), expected, got), name)
    return value
