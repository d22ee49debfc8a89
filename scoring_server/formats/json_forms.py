"""The JSON forms of a body that a signature takes, as JSON Schema.

Each form has the exact schema of what clients should send, and beside it what else is accepted
(see `signature/json_schema.py`).
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..signature import json_schema as js
from ..signature.schema import DataType, Tensor
from ..signature.signature import Signature
from .parsing import RAW_KEYS

JsonSchema = Dict[str, Any]
_DESCRIPTIONS = {
    "dataframe_split": "A table: the names of its columns, and its rows.",
    "dataframe_records": "A table: a list of rows, each with the names of its columns.",
    "instances": "Rows, as TensorFlow Serving has them.",
    "inputs": "Columns or whole tensors, as TensorFlow Serving has them; or rows.",
}


class Forms:
    """The schemas of the JSON forms that a signature takes."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._schema = signature.schema
        self._params = js.params_properties(signature.params)
        self._inputs: Sequence[Any] = () if signature.schema is None else signature.schema.inputs
        self._required = js.names_of(self._inputs) if self._is_named else []

    @property
    def _is_named(self) -> bool:
        return self._schema is not None and self._schema.is_named

    def schemas(self) -> Dict[str, JsonSchema]:
        """The schemas, by the name that they have among the components."""
        schemas: Dict[str, JsonSchema] = {}
        if self._is_named and not self._signature.from_type_hint:
            schemas["Row"] = self._row(js.exact, is_exact=True)
        if self._params:
            schemas["Params"] = {"type": "object", "properties": self._params}
        values = self._values()
        for form, value in values.items():
            name = "".join(word.capitalize() for word in form.split("_"))
            schemas[name] = self._body(form, value)
        if "dataframe_records" in values:
            schemas["Records"] = {
                "description": "The same as `dataframe_records`.",
                "type": "array",
                "minItems": 1,
                "items": {"type": "object"},
                "allOf": [values["dataframe_records"]],
            }
        raw = self._raw()
        if raw is not None:
            schemas["RawPayload"] = raw
        return schemas

    def _body(self, form: str, value: JsonSchema) -> JsonSchema:
        properties = {form: value}
        if self._params:
            properties["params"] = {
                "anyOf": [{"$ref": "#/components/schemas/Params"}, {"type": "null"}]
            }
        return {
            "description": _DESCRIPTIONS[form],
            "type": "object",
            "properties": properties,
            "required": [form],
        }

    def _values(self) -> Dict[str, JsonSchema]:
        """The schema of each form's value; forms that the model cannot be sent are left out."""
        schema = self._schema
        if self._signature.from_type_hint:
            # The model itself looks at what it gets.
            items = js.exact(self._inputs[0].type) if len(self._inputs) == 1 else js.ANYTHING
            return {"inputs": _either({"type": "array", "items": items}, js.ANYTHING)}
        if schema is None:
            split = _split({"type": ["array", "object"]})
            records = _either({"type": "array", "items": {"type": "object"}}, {"type": "array"})
            anything = dict.fromkeys(("instances", "inputs"), js.ANYTHING)
            return {"dataframe_split": split, "dataframe_records": records, **anything}
        if schema.is_tensor:
            return self._tensor_values()
        return self._column_values()

    # --- columns ---------------------------------------------------------------------------------

    def _row(self, of: Any, *, is_exact: bool) -> JsonSchema:
        properties = {str(each.name): self._cell(each, of) for each in self._inputs}
        row: JsonSchema = {"type": "object", "properties": properties}
        return {**row, "required": self._required} if is_exact else row

    @staticmethod
    def _cell(spec: Any, of: Any) -> JsonSchema:
        if not isinstance(spec, Tensor):
            return of(spec.type, spec.required)
        # In a table, what a row has of a tensor is a flat list.
        of_element = js.element if of is js.exact else js.accepted_element
        items, size = of_element(spec.dtype), 1
        if spec.shape in ((-1,), (-1, 1)):
            return items
        for each in spec.shape[1:]:
            size *= each
        return {"type": "array", "items": items, "minItems": size, "maxItems": size}

    def _records(self) -> JsonSchema:
        """Rows; a value that one of them lacks is missing, as long as another has the column."""
        return _either(
            {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1},
            {"type": "array", "items": self._row(js.accepted, is_exact=False), **self._has_names()},
        )

    def _has_names(self) -> JsonSchema:
        """That each name that is required is that of a value in some row."""
        needed = [{"contains": {"type": "object", "required": [n]}} for n in self._required]
        return {"allOf": needed} if needed else {}

    def _columns(self) -> JsonSchema:
        """The table of `dataframe_split`, its columns in any order."""
        names = [{"contains": {"const": name}} for name in self._required]
        data: JsonSchema = {"type": ["array", "object"]}
        if not names:
            return _split(data)
        columns: JsonSchema = {"required": ["columns"], "properties": {"columns": {"allOf": names}}}
        named_data = {"if": {"type": "array"}, "then": self._has_names()}
        named_data["else"] = {"required": self._required}
        return {**_split(data), "anyOf": [columns, {"properties": {"data": named_data}}]}

    def _exact_split(self) -> JsonSchema:
        row: JsonSchema = {
            "type": "array",
            "prefixItems": [self._cell(each, js.exact) for each in self._inputs],
            "minItems": len(self._inputs),
            "maxItems": len(self._inputs),
        }
        split = _split({"type": "array", "items": row, "minItems": 1})
        if self._is_named:
            split["required"] = ["columns", "data"]
            split["properties"]["columns"] = {"const": [str(each.name) for each in self._inputs]}
        return split

    def _column_values(self) -> Dict[str, JsonSchema]:
        inputs = self._inputs
        if not self._is_named:
            return self._unnamed_values()
        plain = all(isinstance(each.type, DataType) for each in inputs)
        rows: JsonSchema = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}
        rows["minItems"] = 1
        lists: JsonSchema = {
            "type": "object",
            "properties": {
                each.name: {"type": "array", "items": js.exact(each.type, each.required)}
                for each in inputs
            },
            "required": self._required,
        }
        by_name: List[JsonSchema] = [{"type": "object", "required": self._required}]
        by_name.append({"type": "array", **self._has_names()} if self._required else js.ANYTHING)
        if len(inputs) == 1:
            by_name[1] = {"type": "array"}
        one_row: JsonSchema = {"$ref": "#/components/schemas/Row"}
        return {
            "dataframe_split": _either(self._exact_split(), self._columns()),
            "dataframe_records": self._records(),
            "instances": _either(*([rows, lists] if plain else [rows]), *by_name),
            "inputs": _either(rows, lists if plain else one_row, *by_name),
        }

    def _unnamed_values(self) -> Dict[str, JsonSchema]:
        kinds = {each.type for each in self._inputs}
        any_values: JsonSchema = {"type": ["array", "number", "string", "boolean"]}
        rows: List[JsonSchema] = []
        if len(self._inputs) == 1:
            rows = [{"type": "array", "items": js.exact(self._inputs[0].type)}]
        elif len(kinds) == 1:
            rows = [self._exact_split()["properties"]["data"]]
        return {
            "dataframe_split": _either(self._exact_split(), _split({"type": ["array", "object"]})),
            "dataframe_records": {"type": "array"},
            "instances": _either(*rows, any_values),
            "inputs": _either(*rows, any_values),
        }

    # --- tensors ---------------------------------------------------------------------------------

    def _tensor_values(self) -> Dict[str, JsonSchema]:
        specs = self._inputs
        tables = self._tables_of_tensors()
        if not self._is_named:
            value = _either(js.tensor(specs[0]), js.accepted_tensor(specs[0]))
            return {**tables, "instances": value, "inputs": value}
        both = []
        for of in (js.tensor, js.accepted_tensor):
            properties = {each.name: of(each) for each in specs}
            both.append({"type": "object", "properties": properties, "required": self._required})
        if len(specs) == 1:
            both += [js.tensor(specs[0]), js.accepted_tensor(specs[0])]
        row = {
            "type": "object",
            "properties": {
                each.name: js.nested(js.accepted_element(each.dtype), each.shape[1:])
                for each in specs
            },
            "required": self._required,
        }
        rows: JsonSchema = {"type": "array", "items": row, "minItems": 1}
        return {**tables, "instances": _either(rows, *both), "inputs": _either(*both)}

    def _tables_of_tensors(self) -> Dict[str, JsonSchema]:
        """The forms of tables, where these can fill the tensors."""
        shapes = [each.shape for each in self._inputs]
        if any(shape[:1] != (-1,) or -1 in shape[1:] for shape in shapes):
            return {}
        if self._is_named:
            return {
                "dataframe_split": _either(self._exact_split(), self._columns()),
                "dataframe_records": self._records(),
            }
        split = _split({"type": ["array", "object"]})
        exact_split = []
        if len(shapes[0]) == 2:
            row = js.nested(js.element(self._inputs[0].dtype), shapes[0][1:])
            exact_split = [_split({"type": "array", "items": row, "minItems": 1})]
        return {
            "dataframe_split": _either(*exact_split, split),
            "dataframe_records": {"type": "array", "minItems": 1},
        }

    # --- payloads that are passed on -------------------------------------------------------------

    def _raw(self) -> Optional[JsonSchema]:
        """The schema of a payload that is passed on; None for a model of other columns."""
        schema = self._schema
        keys = [{"required": [key]} for key in RAW_KEYS]
        described = {
            "description": "Passed on to the model as it is, and so is its answer.",
            "type": "object",
            "anyOf": keys,
        }
        if schema is None or self._signature.from_type_hint:
            return described
        if not self._is_named or schema.is_tensor or not set(RAW_KEYS) & set(schema.names):
            return None
        properties = {str(each.name): self._cell(each, js.exact) for each in self._inputs}
        loose = {str(each.name): js.ANYTHING for each in self._inputs}
        described["required"] = self._required
        both = [{"properties": {**properties, **self._params}}, {"properties": loose}]
        return {**described, "allOf": [{"anyOf": both}]}

    # --- examples --------------------------------------------------------------------------------

    def sample(self) -> Any:
        """A body made from the signature; None where there is none."""
        inputs = self._inputs
        if not inputs:
            return None
        if self._signature.from_type_hint:
            return {"inputs": [js.sample(inputs[0].type)]}
        if isinstance(inputs[0], Tensor):
            if inputs[0].name is None:
                return {"inputs": js.sample_tensor(inputs[0])}
            return {"inputs": {each.name: js.sample_tensor(each) for each in inputs}}
        row = [js.sample(each.type) for each in inputs]
        if self._is_named:
            return {"dataframe_split": {"columns": [each.name for each in inputs], "data": [row]}}
        return {"dataframe_split": {"data": [row]}}

    def csv_example(self) -> Dict[str, Any]:
        """The example of a CSV body, as a member of a Media Type Object; empty for nested types."""
        scalars = all(isinstance(getattr(each, "type", None), DataType) for each in self._inputs)
        if not self._is_named or not scalars:
            return {}
        cells = [str(js.sample(each.type)) for each in self._inputs]
        names = ['"{}"'.format(str(each.name).replace('"', '""')) for each in self._inputs]
        return {"example": "{}\n{}\n".format(",".join(names), ",".join(cells))}


def _split(data: JsonSchema) -> JsonSchema:
    return {
        "type": "object",
        "properties": {
            "columns": {"description": "Names."},
            "index": {"description": "Labels of rows; the model gets them as the table's index."},
            "data": data,
        },
        "required": ["data"],
        "additionalProperties": False,
    }


def _either(*schemas: JsonSchema) -> JsonSchema:
    """What fits one of the schemas, each once."""
    different: List[JsonSchema] = []
    for each in schemas:
        if each not in different:
            different.append(each)
    return different[0] if len(different) == 1 else {"anyOf": different}
