"""Run in an environment with MLflow: change the requirements of models as its command does.

    python update_with_mlflow.py < CASES

CASES is a JSON list of [folder, operation, requirements]. Prints a list of error messages, null
where there was none.
"""

from __future__ import annotations

import json
import logging
import sys

from mlflow.exceptions import MlflowException
from mlflow.models.model import update_model_requirements
from packaging.requirements import InvalidRequirement

logging.getLogger("mlflow").setLevel(logging.ERROR)

found: list[str | None] = []
for folder, operation, requirements in json.load(sys.stdin):
    try:
        update_model_requirements(folder, operation, requirements)
        found.append(None)
    except (MlflowException, InvalidRequirement, OSError, KeyError) as error:
        found.append(f"{type(error).__name__}: {error}")
print(json.dumps(found))
