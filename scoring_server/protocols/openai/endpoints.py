"""Which path of the API is answered by what."""

from __future__ import annotations

from typing import Dict, Type

from .api import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES
from .chat import ChatCompletions
from .completions import TextCompletions
from .embeddings import Embeddings
from .endpoint import Endpoint
from .responses import Responses

_ENDPOINTS: Dict[str, Type[Endpoint]] = {
    CHAT: ChatCompletions,
    RESPONSES: Responses,
    COMPLETIONS: TextCompletions,
    EMBEDDINGS: Embeddings,
}


def endpoint_for(path: str) -> Endpoint:
    """What reads the requests of a path, and writes its answers."""
    return _ENDPOINTS[path]()
