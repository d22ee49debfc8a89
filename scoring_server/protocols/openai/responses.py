"""`/v1/responses`: of a ResponsesAgent, whose requests, items and events are the API's own.

An agent need not send all events that the API has: often it sends the deltas of a text and the item
that they make, or the item alone. The others are put around them, so that clients that keep count
of a response (`responses.stream` of OpenAI's packages) can.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from ...signature.signature import Signature
from .endpoint import (
    Document,
    Endpoint,
    OpenAIInput,
    each,
    event,
    need,
    new_id,
    no_answer,
    now,
    plain,
    unwrapped,
    without_nulls,
)

CREATED, IN_PROGRESS = "response.created", "response.in_progress"
COMPLETED, INCOMPLETE, FAILED = "response.completed", "response.incomplete", "response.failed"
ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"
TEXT_DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
CALL_DELTA = "response.function_call_arguments.delta"
CALL_DONE = "response.function_call_arguments.done"
ERROR = "error"
MESSAGE, CALL, TEXT = "message", "function_call", "output_text"

# What a response has in any case, where neither the request nor the model says otherwise: what is
# known when it begins, and what is not.
_REPEATED: Document = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
_LATER: Document = {"error": None, "incomplete_details": None, "usage": None}


class Responses(Endpoint):
    """Responses of agents."""

    def prepare(self, sent: Document, signature: Signature) -> Document:  # noqa: ARG002
        """A text becomes a message: agents take lists."""
        found = need(sent, "input", (str, list), "text or a list of items")
        items = [{"role": "user", "content": found}] if isinstance(found, str) else found
        cleaned = [without_nulls(item) if isinstance(item, dict) else item for item in items]
        return {**sent, "input": cleaned}

    def answer(self, answer: Any, asked: OpenAIInput) -> Document:
        """A response, whatever of it the model left out."""
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            raise no_answer("response", answer)
        output = [_item(item) for item in each(answer["output"])]
        return {**_head(asked), "status": "completed", **without_nulls(answer), "output": output}

    def whole(self, predictions: Any, asked: OpenAIInput) -> Iterator[bytes]:
        """The events that would have led to the response."""
        response = self.answer(unwrapped(predictions), asked)
        told: List[Document] = [{"type": CREATED, "response": response}]
        told += [{"type": ITEM_DONE, "item": item} for item in response["output"]]
        yield from self.events(iter([*told, {"type": COMPLETED, "response": response}]), asked)

    def events(self, chunks: Iterator[Any], asked: OpenAIInput) -> Iterator[bytes]:
        """The agent's events, and those that they leave out."""
        story = Story(_head(asked))
        for chunk in chunks:
            for said in story.tell(plain(chunk)):
                yield event(said, said["type"])
        for said in story.end():
            yield event(said, said["type"])

    def error_event(self, error: Document) -> bytes:
        """Of the type `error`; with the same again where the package looks for it."""
        return event(_error(error), "error")


class Item:
    """An item of the output whose events are under way.

    :param id: the one that its events have.
    :param index: its place in the output.
    """

    def __init__(self, id: Optional[str], index: int) -> None:
        self.id = id
        self.index = index
        # None before its part has begun, as far as it has one.
        self.text: Optional[str] = None
        self.has_ended_part = False


class Story:
    """The events of one response, complete and in order.

    :param head: the response before anything is in it.
    """

    def __init__(self, head: Document) -> None:
        self._head = head
        self._output: Dict[int, Document] = {}
        self._open: Dict[Any, Item] = {}
        self._number = 0
        self._items = 0
        self._has_begun = self._has_ended = False
        self._more: Document = {}

    def tell(self, told: Any) -> Iterator[Document]:
        """The events for one of the agent's.

        :raises ScoringError: it is none.
        """
        if not isinstance(told, dict) or not isinstance(told.get("type"), str):
            raise no_answer("event of a response", told)
        kind = told["type"]
        if not self._has_begun:
            self._begin(told)
            yield self._lifecycle(CREATED, "in_progress")
            yield self._lifecycle(IN_PROGRESS, "in_progress")
        if kind in (CREATED, IN_PROGRESS) or self._has_ended:
            return
        if "custom_outputs" in told:
            self._more["custom_outputs"] = told["custom_outputs"]
        if kind in (COMPLETED, INCOMPLETE, FAILED):
            yield from self._finish(kind, plain(told.get("response")) or {})
        elif kind == ITEM_DONE:
            yield from self._item_done(told)
        elif kind == ADDED:
            item = _item(told.get("item"))
            yield self._add(item.get("id"), item)
        elif kind.startswith(_OF_MESSAGES) or told.get("item_id") in self._open:
            yield from self._in_item(kind, told)
        elif kind == ERROR:
            self._has_ended = True
            yield self._said({**told, **_error({"code": None, "param": None, **told})})
        else:
            yield self._said(told)

    def end(self) -> Iterator[Document]:
        """What an agent need not say: the rest of its items, that the response is complete."""
        if not self._has_begun:
            yield from self.tell({"type": CREATED})
        if not self._has_ended:
            yield from self._finish(COMPLETED, {})

    def _begin(self, told: Document) -> None:
        self._has_begun = True
        response = plain(told.get("response"))
        if isinstance(response, dict):
            # One response has one id, in all its events.
            known = ("id", "created_at", "model", *_REPEATED)
            self._head.update({key: response[key] for key in known if response.get(key)})

    def _lifecycle(self, kind: str, status: str) -> Document:
        output = [self._output[index] for index in sorted(self._output)]
        response = {**self._head, **self._more, "status": status, "output": output}
        return self._said({"type": kind, "response": response})

    def _finish(self, kind: str, response: Document) -> Iterator[Document]:
        known = {_identity(item) for item in self._output.values()}
        for document in map(_item, response.get("output") or []):
            if _identity(document) not in known:
                yield from self._item_done({"type": ITEM_DONE, "item": document})
        for item in list(self._open.values()):
            message = {"type": MESSAGE, "id": item.id, "content": item.text or ""}
            yield from self._item_done({"type": ITEM_DONE, "item": message})
        self._has_ended = True
        last = without_nulls({**response, "id": None, "output": None})
        self._head.update(last)
        yield self._lifecycle(kind, response.get("status") or kind.rpartition(".")[2])

    def _add(self, id: Any, item: Document) -> Document:
        self._open[id] = Item(id, self._items)
        self._items += 1
        return self._said({"type": ADDED, "output_index": self._open[id].index, "item": item})

    def _in_item(self, kind: str, told: Document) -> Iterator[Document]:
        """An event of a part of an item, which may be the first that is told of the item."""
        id = told.get("item_id")
        if id not in self._open:
            yield self._add(id, {"type": MESSAGE, "id": id, **_UNDER_WAY, "content": []})
        item = self._open[id]
        if kind == TEXT_DELTA:
            yield from self._begin_part(item)
            item.text = (item.text or "") + told.get("delta", "")
        elif kind == PART_ADDED:
            item.text = item.text or ""
        elif kind == PART_DONE:
            item.has_ended_part = True
        place = {"item_id": id, "output_index": item.index}
        if kind.startswith(_OF_MESSAGES):
            place["content_index"] = told.get("content_index") or 0
        logprobs: Document = {"logprobs": []} if kind in (TEXT_DELTA, TEXT_DONE) else {}
        yield self._said({**logprobs, **told, **place})

    def _begin_part(self, item: Item) -> Iterator[Document]:
        if item.text is None:
            item.text = ""
            part = _part({"type": TEXT, "text": ""})
            yield self._said({"type": PART_ADDED, **_place(item, 0), "part": part})

    def _item_done(self, told: Document) -> Iterator[Document]:
        document = _item(told.get("item"))
        id = document.get("id")
        is_new = id not in self._open
        if is_new:
            yield self._add(id, _begun(document))
        item = self._open.pop(id)
        if document["type"] == MESSAGE and not item.has_ended_part:
            yield from self._parts(item, document["content"])
        elif document["type"] == CALL and is_new:
            yield from self._arguments(item, document)
        self._output[item.index] = document
        yield self._said({**told, "output_index": item.index, "item": document})

    def _parts(self, item: Item, parts: List[Document]) -> Iterator[Document]:
        """The end of the parts of a message, and all of those of which nothing was told."""
        for number, part in enumerate(parts):
            place, is_text = _place(item, number), part.get("type") == TEXT
            text = part.get("text") or ""
            if number or item.text is None:
                empty = {**part, "text": ""} if is_text else part
                yield self._said({"type": PART_ADDED, **place, "part": empty})
                if is_text and text:
                    yield self._said({"type": TEXT_DELTA, **place, "delta": text, "logprobs": []})
            if is_text:
                yield self._said({"type": TEXT_DONE, **place, "text": text, "logprobs": []})
            yield self._said({"type": PART_DONE, **place, "part": part})

    def _arguments(self, item: Item, call: Document) -> Iterator[Document]:
        place = {"item_id": item.id, "output_index": item.index}
        arguments = call.get("arguments") or ""
        yield self._said({"type": CALL_DELTA, **place, "delta": arguments})
        yield self._said({"type": CALL_DONE, **place, "arguments": arguments})

    def _said(self, document: Document) -> Document:
        numbered = {**document, "sequence_number": self._number}
        self._number += 1
        return numbered


# The kinds of events whose item can be none but a message.
_OF_MESSAGES = ("response.output_text.", "response.content_part.", "response.refusal.")
_UNDER_WAY: Document = {"role": "assistant", "status": "in_progress"}
# The kinds of items that have a status in the API.
_WITH_STATUS = (MESSAGE, CALL)


def _head(asked: OpenAIInput) -> Document:
    """A response of which nothing is known yet but what was asked for."""
    repeated = {key: asked.sent[key] for key in _REPEATED if key in asked.sent}
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": now(),
        "model": asked.model,
        **_LATER,
        **_REPEATED,
        **repeated,
    }


def _item(value: Any) -> Document:
    """An item of the output with what it must have.

    :raises ScoringError: it is none.
    """
    value = plain(value)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise no_answer("item of a response", value)
    item = without_nulls(value)
    if item["type"] in _WITH_STATUS:
        prefix = "msg_" if item["type"] == MESSAGE else "fc_"
        item = {"id": new_id(prefix), "status": "completed", **item}
    if item["type"] == MESSAGE:
        parts = item.get("content") or []
        parts = [{"type": TEXT, "text": parts}] if isinstance(parts, str) else each(parts)
        item = {**item, "role": "assistant", "content": [_part(part) for part in parts]}
    return item


def _part(part: Document) -> Document:
    part = without_nulls(part)
    return {"annotations": [], **part} if part.get("type") == TEXT else part


def _identity(item: Document) -> Any:
    """What no two items of a response have in common."""
    return item["type"], item.get("id"), item.get("call_id")


def _begun(item: Document) -> Document:
    """An item as it was before its parts were there."""
    if item["type"] == MESSAGE:
        return {**item, **_UNDER_WAY, "content": []}
    if item["type"] == CALL:
        return {**item, "status": "in_progress", "arguments": ""}
    return item


def _place(item: Item, part: int) -> Document:
    return {"item_id": item.id, "output_index": item.index, "content_index": part}


def _error(error: Document) -> Document:
    """The event for an error: its parts, and all of it again where the package looks for it."""
    parts = {key: error.get(key) for key in ("code", "message", "param")}
    return {"type": ERROR, **parts, "error": {**parts, "type": error.get("type")}}
