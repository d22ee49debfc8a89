"""`/v1/completions`, and what `/v1/chat/completions` shares with it."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import pandas as pd

from ...signature.signature import Signature
from .api import RequestError
from .endpoint import (
    DONE,
    Document,
    Endpoint,
    OpenAIInput,
    as_list,
    column_type,
    each,
    event,
    is_text,
    need,
    new_id,
    no_answer,
    now,
    plain,
    unwrapped,
    without_nulls,
)

COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
# Of a model's answer: what is said in its own place, and not once more beside that.
_TAKEN = {
    *("id", "object", "created", "model", "choices", "usage"),
    *("text", "role", "content", "messages", "finish_reason"),
}


class Completions(Endpoint):
    """Objects with choices, whole and in chunks."""

    prefix = object = chunk_object = ""

    def answer(self, answer: Any, asked: OpenAIInput) -> Document:
        """One object, whatever of it the model left out; its choices are counted anew."""
        items = each(answer)
        documents = [item for item in items if isinstance(item, dict)]
        choices = [choice for item in items for choice in self.choices(item)]
        first = documents[0] if documents else {}
        return {
            **_beside(first),
            **self.head(first, asked),
            "object": self.object,
            "choices": [{"index": index, **choice} for index, choice in enumerate(choices)],
            "usage": _total([document.get("usage") for document in documents]),
        }

    def head(self, answer: Document, asked: OpenAIInput) -> Document:
        """The id and the like of an object, as the model has them or anew."""
        return {
            "id": answer.get("id") or new_id(self.prefix),
            "created": int(answer.get("created") or now()),
            "model": answer.get("model") or asked.model,
        }

    def choices(self, answer: Any) -> List[Document]:
        """The choices of one of the model's answers, without an index.

        :raises ScoringError: it is nothing that can be one.
        """
        raise NotImplementedError

    def whole(self, predictions: Any, asked: OpenAIInput) -> Iterator[bytes]:
        """A stream of one chunk."""
        answer = self.answer(unwrapped(predictions), asked)
        choices = [self.as_delta(choice) for choice in answer["choices"]]
        yield from self.events(iter([{**answer, "choices": choices}]), asked)

    def as_delta(self, choice: Document) -> Document:
        """A whole choice as one of a chunk."""
        return choice

    def events(self, chunks: Iterator[Any], asked: OpenAIInput) -> Iterator[bytes]:
        """A chunk an event; last of all why each choice ended, and what was used if wanted."""
        head: Document = {}
        # By the choice's index, None until it has ended.
        ends: Dict[int, Any] = {}
        usage: Any = None
        for chunk in chunks:
            found = self.chunk(plain(chunk))
            head = head or {**self.head(found, asked), "object": self.chunk_object}
            usage = found.get("usage") or usage
            choices = []
            for place, given in enumerate(found["choices"]):
                choice = {"index": place, "logprobs": None, "finish_reason": None, **given}
                index = choice["index"]
                choices.append(self.begun(choice) if index in ends else self.first(choice))
                ends[index] = choice["finish_reason"] or ends.get(index)
            yield event({**_beside(found), **head, "choices": choices})
        head = head or {**self.head({}, asked), "object": self.chunk_object}
        open_ones = [index for index, end in (ends or {0: None}).items() if end is None]
        if open_ones:
            yield event({**head, "choices": [self.last(index) for index in open_ones]})
        options = asked.sent.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            yield event({**head, "choices": [], "usage": _total([usage])})
        yield DONE

    def chunk(self, chunk: Any) -> Document:
        """A chunk of the model's with its choices.

        :raises ScoringError: it is nothing that can be one.
        """
        raise NotImplementedError

    def first(self, choice: Document) -> Document:
        """A choice in the first chunk that has it."""
        return choice

    def begun(self, choice: Document) -> Document:
        """A choice in a later chunk."""
        return choice

    def last(self, index: int) -> Document:
        """The end of a choice of which the model did not say that it ends."""
        raise NotImplementedError


class TextCompletions(Completions):
    """Completions of texts."""

    prefix = "cmpl-"
    object = chunk_object = "text_completion"

    def read(self, sent: Document, signature: Signature, model: str) -> OpenAIInput:
        """As other parameters; several prompts are rows, where the signature has one a row."""
        asked = super().read(sent, signature, model)
        prompts = asked.data.get("prompt")
        if isinstance(prompts, list) and is_text(column_type(signature, "prompt")):
            asked.data = pd.DataFrame([{**asked.data, "prompt": prompt} for prompt in prompts])
        return asked

    def prepare(self, sent: Document, signature: Signature) -> Document:
        """The prompt is text; of a list of one, that one."""
        prompt = need(sent, "prompt", (str, list), "text or a list of texts")
        prompts = prompt if isinstance(prompt, list) else [prompt]
        if not prompts or not all(isinstance(text, str) for text in prompts):
            raise RequestError("Prompt must be text or a list of texts: no tokens.", "prompt")
        prepared = {**sent, "prompt": prompts[0] if len(prompts) == 1 else prompts}
        as_list(prepared, "stop", signature)
        return prepared

    def choices(self, answer: Any) -> List[Document]:
        """Those of an object, or the one that a text is."""
        return [
            {
                "text": choice.get("text") or "",
                "logprobs": choice.get("logprobs"),
                "finish_reason": choice.get("finish_reason") or "stop",
            }
            for choice in self._choices(answer, "completion")
        ]

    def chunk(self, chunk: Any) -> Document:
        """Its choices are texts."""
        document = chunk if isinstance(chunk, dict) else {}
        return {**document, "choices": self._choices(chunk, "chunk of a completion")}

    def last(self, index: int) -> Document:
        """An empty text."""
        return {"index": index, "text": "", "logprobs": None, "finish_reason": "stop"}

    @staticmethod
    def _choices(answer: Any, kind: str) -> List[Document]:
        if isinstance(answer, str):
            return [{"text": answer}]
        if isinstance(answer, dict) and isinstance(answer.get("choices"), list):
            return each(answer["choices"])
        if isinstance(answer, dict) and isinstance(answer.get("text"), str):
            return [{key: answer[key] for key in ("text", "finish_reason") if key in answer}]
        raise no_answer(kind, answer)


def _beside(answer: Document) -> Document:
    """What a model's answer has beyond what the API has."""
    return {key: value for key, value in without_nulls(answer).items() if key not in _TAKEN}


def _total(usages: List[Any]) -> Document:
    """The tokens of several answers together; 0 where the model does not count them."""
    known = [usage for usage in map(plain, usages) if isinstance(usage, dict)]
    counted = {name: sum(usage.get(name) or 0 for usage in known) for name in COUNTS}
    counted["total_tokens"] = counted["total_tokens"] or sum(counted.values())
    return {**without_nulls(known[0] if len(known) == 1 else {}), **counted}
