"""The model behind its signature: the path that HTTP and batch scoring share."""

from __future__ import annotations

import logging
from typing import Any, Iterator, Optional

import numpy as np
import pandas as pd

from ..config import ServerConfig
from ..errors import CannotStreamError, OutOfMemoryError, ScoringError, from_model_exception
from ..formats.content_encoding import HEADER, decode_body
from ..formats.parsing import ModelInput
from ..memory import at_most, is_for_want_of_memory
from ..model.direct import direct_call
from ..model.loading import LoadedModel
from ..routes import Request
from ..signature.examples import example_conversion
from ..signature.number_rows import NumberRows
from ..signature.signature import Signature
from .direct_lane import OFF, ON, DirectLane, LaneState
from .protocol import WireProtocol
from .stages import PREDICT, Stages, Timed

logger = logging.getLogger(__name__)


class Scorer:
    """Applies the signature and predicts. All methods raise `ScoringError` only.

    :param bounds_memory: whether reading a request is bounded in the memory that it takes. The
        bound is the whole process's: threads would take it for each other.
    :raises ModelLoadError: the model's signature is malformed.
    """

    def __init__(
        self, config: ServerConfig, model: LoadedModel, *, bounds_memory: bool = True
    ) -> None:
        self._bounds_memory = bounds_memory and config.server.threads <= 1
        self._has_bound = config.server.worker_memory is not None
        self._max_body = config.server.max_body
        self.model = model
        self.signature = Signature.from_config(config.model)
        self._to_example = example_conversion(config.model)
        self.lane: Optional[DirectLane] = None

    def open_lane(self, setting: str, state: LaneState) -> None:
        """Have predictions take the direct lane where the model has one and it proves itself.

        :param setting: "auto" for the models that are known to take it, "on" for all that may,
            "off" for none.
        """
        names = self.signature.number_names
        if setting == OFF or names is None or self._to_example is not None or self.can_stream:
            return
        direct = direct_call(self.model, names, trust=setting == ON)
        if direct is not None:
            self.lane = DirectLane(direct, self.model.predict, names, state)
            self.signature.keep_numbers()

    @property
    def can_stream(self) -> bool:
        """Whether the model can answer in pieces."""
        return self.model.predict_stream is not None

    def decode(self, request: Request) -> Request:
        """The request with its body as it was before it was compressed."""
        encoding = request.headers.get(HEADER)
        if encoding is None:
            return request
        return request._replace(body=decode_body(request.body, encoding, self._max_body))

    def read(self, request: Request) -> ModelInput:
        """The model's input from a request, the signature applied."""
        request = self.decode(request)
        protocol: WireProtocol = request.group
        most = protocol.memory_for(request) if self._bounds_memory else None
        is_own_bound = False
        try:
            if most is None:
                return self.apply_signature(protocol.read(request, self.signature))
            with at_most(most) as is_own_bound:
                return self.apply_signature(protocol.read(request, self.signature))
        except RecursionError as error:
            raise ScoringError("The body is nested too deeply.") from error
        except UnicodeEncodeError as error:
            # JSON can write half of a surrogate pair; tables and Arrow's texts cannot hold it.
            raise ScoringError("The body's text is not Unicode: {}.".format(error)) from error
        except (ScoringError, MemoryError) as error:
            if not is_for_want_of_memory(error):
                raise
            if self._has_bound and not is_own_bound:
                raise OutOfMemoryError from error
            raise ScoringError("The body decodes to more than it may.", status=413) from error

    def apply_signature(self, model_input: ModelInput) -> ModelInput:
        """Convert parsed data and params to what the signature says."""
        if not model_input.fits:
            model_input.data = self.signature.enforce(model_input.data)
        model_input.params = self.signature.params.enforce(model_input.params)
        if self._to_example is not None and isinstance(model_input.data, pd.DataFrame):
            model_input.data = self._to_example(model_input.data)
        return model_input

    def predict(self, model_input: ModelInput, stages: Optional[Stages] = None) -> Any:
        """The model's answer as it returned it.

        :param stages: gets how long that took.
        """
        with Timed([] if stages is None else stages, PREDICT):
            try:
                if model_input.trace is None:
                    return self._call(model_input)
                from ..tracing.joining import joined  # here: most servers have no traces

                with joined(model_input.trace):
                    return self._call(model_input)
            # A model may raise anything, and sys.exit() in a model must not end the server.
            except (Exception, SystemExit) as error:
                raise self._error(error) from error

    def _call(self, model_input: ModelInput) -> Any:
        data, params = model_input.data, model_input.params
        if self.lane is not None:
            rows = None if params else self.lane.rows(data)
            if rows is not None:
                return self.lane.predict(rows)
            if isinstance(data, NumberRows):
                data = data.frame()
        return self.model.predict(data, params)

    def stream(self, model_input: ModelInput) -> Iterator[Any]:
        """The model's answer in chunks; it must have `predict_stream`.

        The model gets one input, not a table.
        """
        predict_stream: Any = self.model.predict_stream
        data = single_input(model_input.data)
        try:
            if model_input.trace is None:
                yield from predict_stream(data, model_input.params)
                return
            from ..tracing.joining import joined

            with joined(model_input.trace):
                yield from predict_stream(data, model_input.params)
        except NotImplementedError as error:
            raise CannotStreamError from error
        except (Exception, SystemExit) as error:
            raise self._error(error) from error

    def _error(self, error: BaseException) -> ScoringError:
        """What a client is told of an exception of the model's."""
        if self._has_bound and is_for_want_of_memory(error):
            return OutOfMemoryError()
        if isinstance(error, ScoringError):
            return error
        logger.error("The model raised an exception.", exc_info=True)
        return from_model_exception(error)


def single_input(data: Any) -> Any:
    """The one input of a stream, as plain Python values.

    The signature makes tables and arrays of it; this is the way back, as in
    `mlflow.models.utils._convert_llm_input_data`.

    :raises ScoringError: there are several, or none.
    """
    if isinstance(data, pd.DataFrame):
        names: Any = list(data.columns)
        is_unnamed = names == [0]
        data = data[0].tolist() if is_unnamed else data.to_dict(orient="records")
    data = _plain(data)
    if not isinstance(data, list):
        return data
    if len(data) != 1:
        raise ScoringError("A stream answers one input, got {}.".format(len(data)))
    return data[0]


def _plain(data: Any) -> Any:
    if isinstance(data, np.ndarray):
        return data.tolist()
    if isinstance(data, np.generic):
        return data.item()
    if isinstance(data, list):
        return [_plain(item) for item in data]
    if isinstance(data, dict):
        return {key: _plain(item) for key, item in data.items()}
    return data
