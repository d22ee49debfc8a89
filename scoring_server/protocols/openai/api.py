"""The parts of the API, which of them a model has, and what is wrong with a request."""

from __future__ import annotations

from typing import Optional

from ...config import FLAVOR, ModelConfig
from ...errors import BAD_REQUEST, ScoringError

MODELS = "/v1/models"
MODEL = MODELS + "/<id>"
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"

# The modules that MLflow loads its conversational interfaces with, and the `task` in a model's
# metadata (`mlflow.pyfunc.model`, `mlflow.transformers.llm_inference_utils`).
_PATH_OF_LOADER = {
    "mlflow.pyfunc.loaders.chat_model": CHAT,
    "mlflow.pyfunc.loaders.chat_agent": CHAT,
    "mlflow.pyfunc.loaders.responses_agent": RESPONSES,
}
_PATH_OF_TASK = {
    "agent/v1/chat": CHAT,
    "agent/v2/chat": CHAT,
    "agent/v1/responses": RESPONSES,
    "llm/v1/chat": CHAT,
    "llm/v1/completions": COMPLETIONS,
    "llm/v1/embeddings": EMBEDDINGS,
}


class RequestError(ScoringError):
    """A request with a parameter that is wrong.

    :param param: its name.
    """

    def __init__(
        self, message: str, param: str, code: str = BAD_REQUEST, status: int = 400
    ) -> None:
        super().__init__(message, code, status)
        self.param = param


def path_of(model: ModelConfig) -> Optional[str]:
    """The path at which a model answers; None for one that is none of the API's."""
    if model.flavor != FLAVOR:
        return None
    loader = (model.flavors.get(FLAVOR) or {}).get("loader_module")
    task = model.metadata.get("task") if isinstance(model.metadata, dict) else None
    # A model from code has a loader of its own, and is told by its task alone.
    return _PATH_OF_LOADER.get(str(loader)) or _PATH_OF_TASK.get(str(task))
