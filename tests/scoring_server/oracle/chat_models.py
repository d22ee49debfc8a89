"""Models of MLflow's conversational interfaces, and with artifacts and code of their own."""

import pathlib

import mlflow
from mlflow.types.agent import ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
    ChatMessage,
)
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent


class Echo(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        text = "; ".join(f"{message.role}: {message.content}" for message in messages)
        text += f" {params.temperature} {params.max_tokens} {params.custom_inputs}"
        return ChatCompletionResponse(
            choices=[ChatChoice(message=ChatMessage(role="assistant", content=text))],
            model="echo",
            created=0,
        )

    def predict_stream(self, context, messages, params):
        for message in messages:
            delta = ChatChoiceDelta(role="assistant", content=message.content)
            yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=delta)], model="e", created=0)


class EchoAgent(mlflow.pyfunc.ChatAgent):
    def predict(self, messages, context=None, custom_inputs=None):
        text = "; ".join(f"{message.role}: {message.content}" for message in messages)
        text += f" {context} {custom_inputs}"
        return ChatAgentResponse(
            messages=[ChatAgentMessage(role="assistant", content=text, id="1")]
        )


class EchoResponses(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        text = "; ".join(str(item.model_dump()) for item in request.input)
        return ResponsesAgentResponse(
            output=[self.create_text_output_item(text=text, id="1")],
            custom_outputs=request.custom_inputs,
        )

    def predict_stream(self, request):
        for item in request.input:
            yield ResponsesAgentStreamEvent(
                **self.create_text_delta(delta=str(item.content), item_id="1")
            )


class WithArtifact(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.note = pathlib.Path(context.artifacts["note"]).read_text()

    def predict(self, context, model_input, params=None):
        return [self.note] * len(model_input)


class WithCode(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        import extra_module

        return [extra_module.ANSWER] * len(model_input)
