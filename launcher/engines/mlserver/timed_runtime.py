"""MLServer's MLflow runtime with a time limit. Runs in the model's environment, copied for it.

MLServer has no limit of its own: a prediction that hangs keeps its worker for good.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from typing import Any

from mlserver_mlflow import MLflowRuntime


class TimedRuntime(MLflowRuntime):  # type: ignore[misc]
    """Ends its worker when a prediction takes longer than the ``timeout`` of its settings.

    MLServer then answers what the worker had with 500, and starts another. The timer of
    faulthandler needs no Python to run: a model that never lets go of the interpreter ends, too.
    """

    async def load(self) -> bool:
        await super().load()
        self._model.predict = _timed(self._model.predict, self.settings.parameters.extra["timeout"])
        return True


def _timed(predict: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def limited(*arguments: Any, **named: Any) -> Any:
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            return predict(*arguments, **named)
        finally:
            faulthandler.cancel_dump_traceback_later()

    return limited
