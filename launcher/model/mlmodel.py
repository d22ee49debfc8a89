"""Reads a model folder: MLmodel, its environment files and its input example, into a Model.

The format is MLflow's: https://mlflow.org/docs/latest/ml/model/#model-format
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from envs.disk.files import read_regular
from launcher.errors import ModelError
from launcher.model.requirements import (
    ModelRequirements,
    path_inside,
    read_crate_requirements,
    read_model_requirements,
    read_yaml,
)

MLMODEL_FILE = "MLmodel"
PYTHON_FUNCTION, CRATE = "python_function", "crate"
# A model that has both is served as the first.
SERVABLE_FLAVORS = (PYTHON_FUNCTION, CRATE)
_LARGEST_EXAMPLE = 16 << 20  # bytes


class Model(NamedTuple):
    """An MLflow Model as its folder describes it.

    :param flavor: the one that it is served as.
    :param signature: the decoded ``inputs``, ``outputs`` and ``params`` (each a list or None).
    :param created: in UTC.
    :param example_info: saved_input_example_info.
    :param example: a request body (decoded JSON) for ``/invocations`` that the model's own input
        example makes, or None.
    """

    path: Path
    flavors: Mapping[str, Mapping[str, Any]]
    requirements: ModelRequirements
    flavor: str = PYTHON_FUNCTION
    signature: Mapping[str, Any] | None = None
    name: str | None = None
    uuid: str | None = None
    model_id: str | None = None
    run_id: str | None = None
    mlflow_version: str | None = None
    created: datetime | None = None
    is_signature_from_type_hint: bool = False
    type_hint_from_example: bool = False
    metadata: Mapping[str, Any] | None = None
    example_info: Mapping[str, Any] | None = None
    example: Any = None

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        """The python_function flavor; empty for a model that has none."""
        return self.flavors.get("python_function", {})


def read_model(path: Path, flavor: str | None = None) -> Model:
    """Read the model folder at ``path``.

    :param flavor: the one that it is to be served as; None for the first that it has of
        SERVABLE_FLAVORS.
    :raises ModelError: no MLmodel there, not YAML, of another shape, without a flavor that can be
        served, or with fields that point outside the folder.
    """
    path = path.resolve()
    mlmodel = path / MLMODEL_FILE
    if not mlmodel.is_file():
        raise ModelError(
            f"{path} is not an MLflow Model: it has no MLmodel file.",
            "Give the folder that holds the MLmodel file.",
        )
    content = read_yaml(mlmodel)
    flavors = _read_flavors(content, mlmodel)
    flavor = flavor or next(name for name in SERVABLE_FLAVORS if name in flavors)
    signature = _read_signature(content, mlmodel)
    settings = flavors.get(flavor, {})
    _refuse_outside_paths(path, flavors)
    return Model(
        path=path,
        flavors=flavors,
        flavor=flavor,
        requirements=(
            read_crate_requirements(path, settings)
            if flavor == CRATE
            else read_model_requirements(path, settings)
        ),
        signature=signature,
        name=_text(content.get("name")) or _text(content.get("artifact_path")),
        uuid=_text(content.get("model_uuid")),
        model_id=_text(content.get("model_id")),
        run_id=_text(content.get("run_id")),
        mlflow_version=_text(content.get("mlflow_version")),
        created=_read_created(content.get("utc_time_created")),
        is_signature_from_type_hint=bool(content.get("is_signature_from_type_hint")),
        type_hint_from_example=bool(content.get("type_hint_from_example")),
        metadata=content.get("metadata"),
        example_info=content.get("saved_input_example_info"),
        example=_read_example(path, content.get("saved_input_example_info")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _read_flavors(content: Any, mlmodel: Path) -> Mapping[str, Mapping[str, Any]]:
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict) or not flavors:
        raise ModelError(
            f"{mlmodel} lists no flavors.", "Log the model again with MLflow, or repair the file."
        )
    # YAML reads some bare words (`on`, `1`) as other things than names.
    flavors = {str(flavor): settings for flavor, settings in flavors.items()}
    if not any(flavor in flavors for flavor in SERVABLE_FLAVORS):
        raise ModelError(
            f"{mlmodel} has no python_function flavor (it has: {', '.join(sorted(flavors))}).",
            "Only models with the flavor python_function or crate can be served.",
        )
    for flavor, settings in flavors.items():
        if not isinstance(settings, dict):
            raise ModelError(f"{mlmodel}: the flavor {flavor} is not a mapping.")
    pyfunc = flavors.get("python_function")
    if pyfunc is not None and not pyfunc.get("loader_module"):
        raise ModelError(f"{mlmodel}: the python_function flavor names no loader_module.")
    return flavors


def _read_signature(content: Mapping[str, Any], mlmodel: Path) -> Mapping[str, Any] | None:
    signature = content.get("signature")
    if not signature:
        return None
    try:
        return {
            part: json.loads(signature[part]) if signature.get(part) else None
            for part in ("inputs", "outputs", "params")
        }
    except (TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ModelError(f"{mlmodel}: the signature cannot be read ({error}).") from error


def _read_created(value: Any) -> datetime | None:
    """``utc_time_created``: '2020-09-01 12:00:00.000000', UTC; YAML may have parsed it already.

    MLflow's R package writes '20-09-01T12:00:00.00'.
    """
    if value is None or isinstance(value, datetime):
        return value and value.replace(tzinfo=timezone.utc)
    text = str(value).strip()
    if re.match(r"\d\d-", text):
        # Python before 3.11 reads fractions of 3 or 6 digits only.
        text = "20" + text.split(".")[0]
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return None
    return created if created.tzinfo else created.replace(tzinfo=timezone.utc)


# Fields of a flavor that name a file or folder inside the model folder. Of model_code_path, which
# is where the code was when it was logged, MLflow takes the last part only.
_PATH_FIELDS = (
    "model_path",
    "data",
    "code",
    "python_model",
    "pickled_model",
    "model_data",
    "saved_model_dir",
    "serialized_explainer",
)
_PATH_FIELDS_OF_CRATES = ("model", "conda_env")


def _refuse_outside_paths(path: Path, flavors: Mapping[str, Mapping[str, Any]]) -> None:
    for flavor, settings in flavors.items():
        fields = _PATH_FIELDS_OF_CRATES if flavor == CRATE else _PATH_FIELDS
        named = [(field, settings.get(field)) for field in fields]
        artifacts = settings.get("artifacts")
        if isinstance(artifacts, dict):
            named += [
                (f"artifacts.{name}", entry.get("path"))
                for name, entry in artifacts.items()
                if isinstance(entry, dict)
            ]
        for field, value in named:
            if isinstance(value, str) and path_inside(path, value) is None:
                raise ModelError(
                    f"{path / MLMODEL_FILE}: {field} of the flavor {flavor} points outside "
                    f"the model folder ({value!r}).",
                    "A model may only name files in its own folder.",
                )


def _read_example(path: Path, info: Any) -> Any:
    """The request body that the model's input example makes, or None.

    An example is a convenience: one that is missing or damaged does not stop a model from
    being served.
    """
    if not isinstance(info, dict):
        return None
    try:
        serving = path_inside(path, info.get("serving_input_path"))
        if serving is not None and serving.is_file():
            return json.loads(read_regular(serving, _LARGEST_EXAMPLE))
        artifact = path_inside(path, info.get("artifact_path"))
        if artifact is None or not artifact.is_file():
            return None
        example = json.loads(read_regular(artifact, _LARGEST_EXAMPLE))
    except (OSError, ValueError, RecursionError):
        return None
    kind = info.get("type")
    if kind == "dataframe":
        orient = info.get("pandas_orient", "split")
        return {f"dataframe_{orient}": example} if orient in ("split", "records") else None
    if kind == "ndarray":
        return {"inputs": example.get("inputs", example) if isinstance(example, dict) else example}
    return {"inputs": example} if kind == "json_object" else None
