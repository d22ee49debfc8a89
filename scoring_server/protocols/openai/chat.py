"""`/v1/chat/completions`: of a ChatModel, of a ChatAgent, of others whose task is chat.

A ChatAgent answers with all messages of its turn, tools' among them. They become one message: the
texts of its own, and the tool calls that no message of the turn answers, which are the client's.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from ...signature.schema import Array, Object
from ...signature.signature import Signature
from .api import RequestError
from .completions import Completions
from .endpoint import (
    Document,
    OpenAIInput,
    as_list,
    column_type,
    each,
    is_text,
    need,
    no_answer,
    plain,
    without_nulls,
)

BETWEEN_MESSAGES = "\n\n"


class ChatCompletions(Completions):
    """Completions of conversations."""

    prefix = "chatcmpl-"
    object, chunk_object = "chat.completion", "chat.completion.chunk"

    def prepare(self, sent: Document, signature: Signature) -> Document:
        """Newer names and forms become those that the signature has."""
        messages = need(sent, "messages", list, "a list of messages")
        if not messages or not all(isinstance(message, dict) for message in messages):
            raise RequestError("Messages must be a list of objects, one at least.", "messages")
        prepared = {**sent, "messages": [_message(message, signature) for message in messages]}
        as_list(prepared, "stop", signature)
        limit, older = "max_completion_tokens", "max_tokens"
        if limit in sent and not _has(signature, limit) and _has(signature, older):
            prepared.setdefault(older, prepared.pop(limit))
        return prepared

    def answer(self, answer: Any, asked: OpenAIInput) -> Document:
        """As other completions; of an agent that took several steps, these beside them."""
        document = super().answer(answer, asked)
        steps = answer.get("messages") if isinstance(answer, dict) else None
        return {**document, "messages": steps} if steps and len(steps) > 1 else document

    def choices(self, answer: Any) -> List[Document]:
        """Those of an object, or the one that an agent's turn, a message or a text is."""
        if isinstance(answer, dict) and isinstance(answer.get("choices"), list):
            return [_choice(choice) for choice in each(answer["choices"])]
        if isinstance(answer, dict) and isinstance(answer.get("messages"), list):
            turn = Turn()
            text = "".join([turn.take(message) for message in each(answer["messages"])])
            message = {"content": text or None, **turn.open_calls()}
            return [_choice({"message": message, "finish_reason": answer.get("finish_reason")})]
        return [_choice({"message": _only_message(answer, "chat completion")})]

    def as_delta(self, choice: Document) -> Document:
        """Its message is the delta."""
        return {"index": choice["index"], "delta": choice["message"], **_end(choice)}

    def events(self, chunks: Iterator[Any], asked: OpenAIInput) -> Iterator[bytes]:
        """As other completions; of an agent's turn, what of it is the client's."""
        yield from super().events(_of_turn(chunks), asked)

    def chunk(self, chunk: Any) -> Document:
        """Its choices have deltas."""
        if isinstance(chunk, dict) and isinstance(chunk.get("choices"), list):
            return {**chunk, "choices": [_with_delta(choice) for choice in each(chunk["choices"])]}
        delta = _only_message(chunk, "chunk of a chat completion")
        document = chunk if isinstance(chunk, dict) else {}
        return {**document, "choices": [{"delta": delta, **_end(document)}]}

    def first(self, choice: Document) -> Document:
        """Its delta says whose it is."""
        return {**choice, "delta": {"role": "assistant", **choice["delta"]}}

    def begun(self, choice: Document) -> Document:
        """Its delta does not: clients add the deltas up."""
        delta = {key: value for key, value in choice["delta"].items() if key != "role"}
        return {**choice, "delta": delta}

    def last(self, index: int) -> Document:
        """An empty delta."""
        return {"index": index, "delta": {}, "logprobs": None, "finish_reason": "stop"}


class Turn:
    """The messages of an agent's turn, put together to one."""

    def __init__(self) -> None:
        self._message: Any = None
        self._has_text = False
        self._calls: Dict[Any, Document] = {}

    def take(self, message: Document) -> str:
        """The text that a message, or a piece of one, adds."""
        if message.get("role") == "tool":
            self._calls.pop(message.get("tool_call_id"), None)
            return ""
        for call in each(message.get("tool_calls") or []):
            self._calls[call.get("id")] = call
        text: str = message.get("content") or ""
        if not text:
            return ""
        is_next = self._has_text and message.get("id") != self._message
        self._message, self._has_text = message.get("id"), True
        return BETWEEN_MESSAGES + text if is_next else text

    def open_calls(self) -> Document:
        """`tool_calls`, if there are some that no message has answered."""
        return {"tool_calls": list(self._calls.values())} if self._calls else {}


def _of_turn(chunks: Iterator[Any]) -> Iterator[Any]:
    """Chunks of chat completions for those of a ChatAgent; others as they are."""
    turn, end = Turn(), None
    for chunk in map(plain, chunks):
        if not isinstance(chunk, dict) or not isinstance(chunk.get("delta"), dict):
            yield chunk
            continue
        end = chunk.get("finish_reason") or end
        # Of what a tool says nothing goes to the client, but that there is something.
        delta = {"content": turn.take(chunk["delta"])}
        more = {key: value for key, value in chunk.items() if key not in ("delta", "finish_reason")}
        yield {**more, "choices": [{"delta": delta}]}
    calls = turn.open_calls()
    if calls or end is not None:
        yield {"choices": [{"delta": calls, "finish_reason": end or "tool_calls"}]}


def _choice(choice: Document) -> Document:
    """A choice of the model's with all that it must have, but its index."""
    message = without_nulls(plain(choice.get("message")) or {})
    ending = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "message": {"content": None, "refusal": None, **message, "role": "assistant"},
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason") or ending,
    }


def _with_delta(choice: Document) -> Document:
    """A choice of a chunk without what is null in its delta, its tool calls counted."""
    delta = without_nulls(plain(choice.get("delta")) or {})
    if delta.get("tool_calls"):
        calls = enumerate(each(delta["tool_calls"]))
        delta["tool_calls"] = [{"index": index, **call} for index, call in calls]
    return {**choice, "delta": delta}


def _only_message(answer: Any, kind: str) -> Document:
    """The message that an answer without choices is."""
    if isinstance(answer, str):
        return {"content": answer}
    if isinstance(answer, dict) and isinstance(answer.get("content"), str):
        return {"content": answer["content"]}
    raise no_answer(kind, answer)


def _end(choice: Document) -> Document:
    return {"finish_reason": choice.get("finish_reason")}


def _message(message: Document, signature: Signature) -> Document:
    """A message without what is null in it; its parts as one text, where the signature has that."""
    prepared = without_nulls(message)
    parts = prepared.get("content")
    if isinstance(parts, list) and is_text(_content_type(signature)):
        texts: List[Any] = [part.get("text") for part in parts if isinstance(part, dict)]
        if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
            raise RequestError("The model takes messages of text alone.", "messages")
        prepared["content"] = "".join(texts)
    if isinstance(prepared.get("tool_calls"), list):
        prepared["tool_calls"] = [_call(call) for call in prepared["tool_calls"]]
    return prepared


def _call(call: Any) -> Any:
    """A tool call as it was before it was a chunk's, and before a client looked into it."""
    if not isinstance(call, dict):
        return call
    kept = {key: value for key, value in without_nulls(call).items() if key != "index"}
    function = kept.get("function")
    return {**kept, "function": without_nulls(function)} if isinstance(function, dict) else kept


def _content_type(signature: Signature) -> Any:
    """The type of a message's content; None where the signature does not say."""
    messages = column_type(signature, "messages")
    items = messages.items if isinstance(messages, Array) else None
    properties = items.properties if isinstance(items, Object) else ()
    return next((each.type for each in properties if each.name == "content"), None)


def _has(signature: Signature, name: str) -> bool:
    return name in signature.params.names or column_type(signature, name) is not None
