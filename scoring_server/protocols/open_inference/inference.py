"""From a request's body to the model's input, and from the model's answer to the body of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ...config import ServerConfig
from ...formats.parsing import ModelInput
from ...routes import JSON_TYPE, Answer, Request
from ...signature.signature import Signature
from ..mlflow import DECODED_FACTOR
from .metadata import output_names
from .reading import InputReader
from .requests import LENGTH_HEADER, Wanted, read_request
from .writing import choose, encode, new_id, outputs_of

BINARY_TYPE = "application/octet-stream"


@dataclass
class InferenceInput(ModelInput):
    """The model's input, and what its answer has to say again."""

    id: Optional[str] = None
    outputs: Optional[List[Wanted]] = None
    is_answer_binary: bool = False


class Inference:
    """Reads requests for a model and writes its answers.

    :param name: the model's.
    """

    def __init__(self, config: ServerConfig, name: str) -> None:
        self._head: Dict[str, Any] = {"model_name": name}
        if config.model.version is not None:
            self._head["model_version"] = config.model.version
        self._max_decoded = DECODED_FACTOR * config.server.max_body
        self._described = output_names(config.model)
        self._reader: Optional[InputReader] = None

    def read(self, request: Request, signature: Signature) -> InferenceInput:
        """The model's input.

        :raises ScoringError: the request is not what the protocol or the signature says.
        """
        sent = read_request(request.body, request.headers)
        if self._reader is None or self._reader.signature is not signature:
            self._reader = InputReader(signature, self._max_decoded)
        decoded = self._reader.read(sent.inputs, sent.content_type)
        return InferenceInput(
            data=decoded.data,
            params=sent.params or None,
            fits=decoded.fits,
            id=sent.id,
            outputs=sent.outputs,
            is_answer_binary=sent.is_answer_binary,
        )

    def write(self, predictions: Any, sent: InferenceInput) -> Answer:
        """The answer.

        :raises ScoringError: it cannot be encoded, or has not got an output that is wanted.
        """
        content_type, outputs = outputs_of(predictions)
        chosen = choose(outputs, sent.outputs, self._described, sent.is_answer_binary)
        more = {"id": sent.id or new_id(), "parameters": {"content_type": content_type}}
        text, binary = encode({**self._head, **more}, chosen)
        if not binary:
            return Answer(200, [("Content-Type", JSON_TYPE)], text)
        headers = [("Content-Type", BINARY_TYPE), (LENGTH_HEADER, str(len(text)))]
        return Answer(200, headers, b"".join([text, *binary]))
