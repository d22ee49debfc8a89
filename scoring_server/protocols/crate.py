"""What R's crates answer: `/invocations` as all models, and the routes of MLflow's R server.

There the whole answer is R's: `jsonlite::toJSON(auto_unbox = TRUE, digits = NA)` of what the
function returned, and the table is made of the body by R. See `mlflow_rfunc_serve` in MLflow's R
package.
"""

from __future__ import annotations

from typing import Any, Optional

from ..errors import ScoringError, reason, type_name
from ..formats import json_body
from ..formats.parsing import CSV, FORMAT_KEYS, JSON, MEDIA_TYPES, ModelInput
from ..model.r_crate.crate import JsonText, RForm
from ..routes import JSON_TYPE, WORKER, Answer, Description, Request, Route
from ..signature.signature import Signature
from .mlflow import MlflowProtocol

_INVOCATIONS, _INVOCATION, _PREDICT = "/invocations", "/invocation", ("/predict", "/predict/")
# The media type of MLflow 0.x for rows beside column names.
_NUMPY_SPLIT = "application/json-numpy-split"


class CrateProtocol(MlflowProtocol):
    """MLflow's protocol, with bare answers for bodies in the forms of its R server."""

    name = "crate"
    can_batch = False
    routes = tuple(
        Route(path, ("POST",), WORKER) for path in (_INVOCATIONS, _INVOCATION, *_PREDICT)
    )

    def describe(self) -> Description:
        """MLflow's, and the routes of its R server."""
        from .mlflow_description import describe_crate

        return describe_crate(super().describe())

    def read(self, request: Request, signature: Signature) -> ModelInput:
        """As MLflow's protocol; on the R server's routes, and in its forms, for R to read."""
        if request.route.path in _PREDICT:
            return _for_r("columns", request.body)
        if request.route.path == _INVOCATION:
            return _for_r(_form_of_type(request) or "split", request.body)
        try:
            return super().read(request, signature)
        except ScoringError:
            form = _form_of_type(request)
            if form is None or form == CSV or (form == "split" and not _is_bare(request.body)):
                raise
            return _for_r(form, request.body)

    def write(self, predictions: Any, model_input: ModelInput) -> Answer:
        """{"predictions": ...}, or R's own JSON."""
        if isinstance(predictions, JsonText):
            return Answer(200, [("Content-Type", JSON_TYPE)], bytes(predictions))
        return super().write(predictions, model_input)


def _for_r(form: str, body: bytes) -> ModelInput:
    """The model's input for a body that R is to read.

    :raises ScoringError: it is none of its form.
    """
    if form != CSV and (body.strip() or form != "columns"):
        document = json_body.loads(body)
        if not isinstance(document, (dict, list)):
            raise ScoringError("Expected an object or a list, got {}.".format(type_name(document)))
    try:
        return ModelInput(RForm(form, body.decode("utf-8")), fits=True)
    except UnicodeDecodeError as error:
        raise ScoringError("The body is not UTF-8: {}.".format(reason(error))) from error


def _form_of_type(request: Request) -> Optional[str]:
    """The form that `Content-Type` names.

    :raises ScoringError: it has no form on this route (415).
    """
    media_type, *parameters = [
        part.strip().lower() for part in request.headers.get("content-type", "").split(";")
    ]
    if "format=pandas-records" in parameters:
        return "records"
    kind = MEDIA_TYPES.get(media_type or "application/json")
    if kind == JSON or media_type == _NUMPY_SPLIT:
        return "split"
    if kind == CSV:
        return CSV
    if request.route.path == _INVOCATION:
        raise ScoringError("R reads JSON and CSV.", status=415)
    return None


def _is_bare(body: bytes) -> bool:
    """Whether the rows and their columns' names are the whole body, as before MLflow 2."""
    document = json_body.loads(body)
    if not isinstance(document, dict) or not {"columns", "data"} <= set(document):
        return False
    return not set(FORMAT_KEYS) & set(document)
