"""Log models that OpenAI's API can serve, with the real MLflow of this environment.

    python log_openai_models.py FOLDER

Makes one folder a model below FOLDER. Those that stream make the file that the environment
variable ENDED names, when their generator is closed or done.
"""

import os
import pathlib
import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.agent import ChatAgentChunk, ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
    ChatMessage,
    TokenUsageStats,
)
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent
from mlflow.types.schema import ColSpec, Schema

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def ended():
    pathlib.Path(os.environ["ENDED"]).touch()


class WholeChat(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        text = f"{messages[-1].content} {params.max_tokens} {params.stop} {params.custom_inputs}"
        return ChatCompletionResponse(
            choices=[ChatChoice(message=ChatMessage(role="assistant", content=text))],
            custom_outputs={"seen": len(messages)},
        )


class Chat(WholeChat):
    def predict_stream(self, context, messages, params):
        try:
            count = int((params.custom_inputs or {}).get("count", 2))
            for number in range(count):
                if messages[-1].content == "fail" and number:
                    raise ValueError("halfway")
                delta = ChatChoiceDelta(content=f"{messages[-1].content}{number} ")
                usage = TokenUsageStats(prompt_tokens=1, completion_tokens=number + 1)
                yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=delta)], usage=usage)
        finally:
            ended()


def steps(messages):
    yield {"role": "assistant", "content": "Let me see.", "id": "1", "tool_calls": [CALL]}
    yield {
        "role": "tool", "content": "42", "id": "2", "name": "f", "tool_call_id": "call_1",
    }  # fmt: skip
    yield {"role": "assistant", "content": f"It is 42, {messages[-1].content}.", "id": "3"}


class Agent(mlflow.pyfunc.ChatAgent):
    def predict(self, messages, context=None, custom_inputs=None):
        custom_outputs = {"context": context and context.model_dump(), "inputs": custom_inputs}
        if custom_inputs and custom_inputs.get("call"):
            asked = ChatAgentMessage(role="assistant", tool_calls=[CALL], id="1")
            return ChatAgentResponse(messages=[asked])
        told = [ChatAgentMessage(**each) for each in steps(messages)]
        return ChatAgentResponse(messages=told, custom_outputs=custom_outputs)

    def predict_stream(self, messages, context=None, custom_inputs=None):
        try:
            told = list(steps(messages))
            if custom_inputs and custom_inputs.get("call"):
                told = [{"role": "assistant", "tool_calls": [CALL], "id": "1"}]
            for message in told:
                yield ChatAgentChunk(delta=ChatAgentMessage(**message))
        finally:
            ended()


class Responses(mlflow.pyfunc.ResponsesAgent):
    """Says the words of its last input, whole or in pieces, after a call of a function."""

    def predict(self, request):
        done = [event.item for event in self.predict_stream(request) if event.type.endswith("done")]
        return ResponsesAgentResponse(output=done, custom_outputs=request.custom_inputs)

    def predict_stream(self, request):
        try:
            text = request.input[-1].content
            call = self.create_function_call_item("fc_1", "call_1", "f", '{"a": 1}')
            yield ResponsesAgentStreamEvent(type="response.output_item.done", item=call)
            for word in text.split():
                if word == "fail":
                    raise ValueError("halfway")
                yield ResponsesAgentStreamEvent(**self.create_text_delta(word, "msg_1"))
            item = self.create_text_output_item(text.replace(" ", ""), "msg_1")
            yield ResponsesAgentStreamEvent(
                type="response.output_item.done", item=item, custom_outputs=request.custom_inputs
            )
        finally:
            ended()


class WholeResponses(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        item = self.create_text_output_item(f"{request.input[-1].content}!", "msg_1")
        return ResponsesAgentResponse(output=[item])


class Embeds(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        texts = model_input.iloc[:, 0].tolist()
        return np.array([[len(text), 0.5] for text in texts], dtype=np.float32)


class EmbedsInTables(Embeds):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame(super().predict(context, model_input, params))


class Completes(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [f"{text}..." for text in model_input["prompt"]]


def models():
    """Keyword arguments for `mlflow.pyfunc.save_model`, by model name."""
    text = ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("double")]))
    named = ModelSignature(Schema([ColSpec("string", "input")]), Schema([ColSpec("double")]))
    prompt = ModelSignature(Schema([ColSpec("string", "prompt")]), Schema([ColSpec("string")]))
    embeddings = {"task": "llm/v1/embeddings"}
    return {
        "chat": {"python_model": Chat()},
        "whole-chat": {"python_model": WholeChat()},
        "agent": {"python_model": Agent()},
        "responses": {"python_model": Responses()},
        "whole-responses": {"python_model": WholeResponses()},
        "embeddings": {"python_model": Embeds(), "signature": text, "metadata": embeddings},
        "tables": {"python_model": EmbedsInTables(), "signature": named, "metadata": embeddings},
        "completions": {
            "python_model": Completes(), "signature": prompt,
            "metadata": {"task": "llm/v1/completions"},
        },
        "neither": {"python_model": Completes(), "signature": prompt},
    }  # fmt: skip


def main(folder):
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    for name, arguments in models().items():
        mlflow.pyfunc.save_model(str(partial / name), pip_requirements=[], **arguments)
    partial.rename(folder)


if __name__ == "__main__":
    os.environ.setdefault("ENDED", os.devnull)
    main(pathlib.Path(sys.argv[1]))
