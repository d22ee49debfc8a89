"""What the protocol's metadata says of the server and of the model."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ...config import FLAVOR, ModelConfig
from ...signature.schema import Schema
from ...version import __version__
from .datatypes import INPUT_PREFIX, OUTPUT_PREFIX, content_type_of, describe

SERVER = "mlmodel-launcher"
BINARY_TENSORS = "binary_tensor_data"


def describe_server() -> Dict[str, Any]:
    """The document of `/v2`."""
    return {"name": SERVER, "version": __version__, "extensions": [BINARY_TENSORS]}


def describe_model(model: ModelConfig, name: str) -> Dict[str, Any]:
    """The document of `/v2/models/NAME`.

    :raises SignatureError: the model's signature is malformed.
    """
    flavors = [each for each in model.flavors if each != FLAVOR]
    inputs = _schema(model, "inputs")
    content_type = content_type_of(inputs)
    document = {
        "name": name,
        "versions": [] if model.version is None else [model.version],
        "platform": "mlflow_" + (flavors[0] if flavors else FLAVOR),
        "inputs": _tensors(inputs, INPUT_PREFIX),
        "outputs": _tensors(_schema(model, "outputs"), OUTPUT_PREFIX),
    }
    return document if content_type is None else {**document, **_typed(content_type)}


def output_names(model: ModelConfig) -> List[str]:
    """What the metadata calls the outputs."""
    return [each["name"] for each in _tensors(_schema(model, "outputs"), OUTPUT_PREFIX)]


def _schema(model: ModelConfig, part: str) -> Optional[Schema]:
    document = getattr(model.signature, part, None)
    return Schema.from_json(document) if document else None


def _tensors(schema: Optional[Schema], prefix: str) -> List[Dict[str, Any]]:
    return [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": each.shape,
            **_typed(each.content_type),
        }
        for each in ([] if schema is None else describe(schema, prefix))
    ]


def _typed(content_type: str) -> Dict[str, Any]:
    return {"parameters": {"content_type": content_type}}
