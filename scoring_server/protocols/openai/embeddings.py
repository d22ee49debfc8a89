"""`/v1/embeddings`: a vector a text, of whatever the model makes of its texts."""

from __future__ import annotations

import base64
from typing import Any, List

import numpy as np
import pandas as pd

from ...errors import INTERNAL_ERROR, ScoringError
from ...formats.encoding import dumps
from ...formats.parsing import raw_input
from ...signature.schema import Array
from ...signature.signature import Signature
from .api import RequestError
from .endpoint import Document, Endpoint, OpenAIInput, each, need, no_answer, plain, unwrapped

FLOAT, BASE64 = "float", "base64"


class Embeddings(Endpoint):
    """Embeddings of texts."""

    def read(self, sent: Document, signature: Signature, model: str) -> OpenAIInput:
        """The texts as the signature has them: rows of one column, or one list."""
        sent = self.prepare(sent, signature)
        texts: List[str] = sent["input"]
        found = raw_input(sent, signature)
        if signature.from_type_hint:
            return OpenAIInput(texts, found.params, sent=sent, model=model)
        schema = signature.schema
        if schema is None or schema.is_tensor:
            return OpenAIInput(found.data, found.params, is_raw=True, sent=sent, model=model)
        name = "input" if "input" in schema.names else schema.names[0]
        column: Any = schema.inputs[schema.names.index(name)]
        values: Any = [texts] if isinstance(column.type, Array) else texts
        more = {key: found.data[key] for key in schema.names if key in found.data and key != name}
        table = pd.DataFrame({name: values})
        for key, value in more.items():
            table[key] = [value] * len(table)
        return OpenAIInput(table, found.params, sent=sent, model=model)

    def prepare(self, sent: Document, signature: Signature) -> Document:  # noqa: ARG002
        """The input is a list of texts."""
        texts = need(sent, "input", (str, list), "text or a list of texts")
        texts = texts if isinstance(texts, list) else [texts]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise RequestError("Input must be text or a list of texts: no tokens.", "input")
        if sent.get("encoding_format", FLOAT) not in (FLOAT, BASE64):
            raise RequestError("The encoding_format must be float or base64.", "encoding_format")
        return {**sent, "input": texts}

    def write(self, predictions: Any, asked: OpenAIInput) -> bytes:
        """A list with an object a text."""
        answer = unwrapped(predictions)
        if isinstance(answer, dict) and isinstance(answer.get("data"), list):
            vectors: Any = [item["embedding"] for item in each(answer["data"])]
            model, usage = answer.get("model"), plain(answer.get("usage"))
        else:
            vectors, model, usage = _vectors(predictions), None, None
        table = _table(vectors, len(asked.sent["input"]))
        as_text = asked.sent.get("encoding_format") == BASE64
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(row) if as_text else row}
            for index, row in enumerate(table)
        ]
        return dumps(
            {
                "object": "list",
                "data": data,
                "model": model or asked.model,
                "usage": {"prompt_tokens": 0, "total_tokens": 0, **(usage or {})},
            }
        )


def _vectors(predictions: Any) -> Any:
    """The rows of a table or an array; where a table's one column has lists, these."""
    if isinstance(predictions, pd.DataFrame):
        if predictions.shape[1] == 1:
            return predictions.iloc[:, 0].tolist()
        return predictions.to_numpy()
    return predictions.tolist() if isinstance(predictions, pd.Series) else predictions


def _table(vectors: Any, texts: int) -> Any:
    """An array with a row a text.

    :raises ScoringError: the model has returned something else.
    """
    try:
        table = np.asarray(vectors)
        table = np.asarray(table.tolist() if table.dtype == object else table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise no_answer("table of embeddings", vectors) from error
    if table.ndim == 1 and texts == 1:
        table = table.reshape(1, -1)
    while table.ndim > 2 and table.shape[0] == 1:
        table = table[0]
    if table.ndim != 2 or len(table) != texts:
        message = "The model answered {} texts with an array of the shape {}."
        raise ScoringError(message.format(texts, table.shape), INTERNAL_ERROR)
    return table


def _base64(row: Any) -> str:
    """A vector as the API packs it: 32-bit floats, the lowest byte first."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
