"""A model from code, with a model configuration."""

import mlflow


class CodeModel(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.factor = mlflow.models.ModelConfig().get("k") if context is None else None

    def predict(self, context, model_input, params=None):
        return {"config": context.model_config, "rows": len(model_input)}


mlflow.models.set_model(CodeModel())
