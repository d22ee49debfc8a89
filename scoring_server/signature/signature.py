"""A model's signature, compiled once at load: what a request must bring and how it is converted.

`Signature.enforce` and `Params.enforce` do what `mlflow.pyfunc.PyFuncModel.predict` does to its
input before the model sees it.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Optional, Union

import numpy as np
import pandas as pd

from ..config import ModelConfig, SignatureConfig
from ..errors import ModelLoadError, ScoringError, quote, reason, schema_error, type_name
from .casting import FrameCaster, are_dates
from .datatypes import compile_check, is_settled
from .misfits import row_counts, unequal
from .nested import compile_type
from .params import Params
from .plain_rows import PlainRows, ValueRows
from .schema import DATETIME, Array, DataType, Object, Schema, SignatureError, read_params
from .tensors import enforce_tensors

logger = logging.getLogger(__name__)

ColumnCheck = Callable[[pd.Series], pd.Series]


class Signature:
    """The compiled signature of one model.

    :param schema: None where the model says nothing of its inputs.
    :param from_type_hint: the model's own wrapper validates the input, so it passes unread.
    :param keeps_values: a table without a signature has what was sent and no types of pandas',
        which has no integers beside missing ones; what was sent as a date for a datetime stays one.
    """

    def __init__(
        self,
        schema: Optional[Schema],
        params: Params,
        from_type_hint: bool = False,
        keeps_values: bool = False,
    ) -> None:
        self.schema = schema
        self.params = params
        self.from_type_hint = from_type_hint
        self.keeps_values = keeps_values
        self.frame_dtype = object if keeps_values and schema is None else None
        self.frame_caster = None if schema is None else FrameCaster(schema, dates=keeps_values)
        self.plain_rows: Union[PlainRows, ValueRows, None] = None
        if keeps_values and schema is None:
            self.plain_rows = ValueRows()
        elif not from_type_hint:
            self.plain_rows = PlainRows.for_schema(schema)
        self.csv_caster = (
            None if schema is None else FrameCaster.for_csv(schema, dates=keeps_values)
        )
        self._checks: List[ColumnCheck] = []
        self._has_nested = False
        # Of each column; None where they have no names of their own, or one is nested.
        self._kinds: Optional[List[DataType]] = None
        if schema is not None and not schema.is_tensor:
            self._checks = [
                _compile_column(name, spec, keeps_values)
                for name, spec in zip(schema.names, schema.inputs)
            ]
            kinds = [getattr(spec, "type", None) for spec in schema.inputs]
            if schema.is_named and len(schema.by_name) == len(kinds):
                known = [kind for kind in kinds if isinstance(kind, DataType)]
                self._kinds = known if len(known) == len(kinds) else None
            self._has_nested = any(
                isinstance(getattr(spec, "type", None), (Array, Object)) for spec in schema.inputs
            )

    @property
    def number_names(self) -> Optional[List[str]]:
        """The names of the columns where all are numbers and plain rows are read, else None."""
        plain = self.plain_rows
        return plain.number_names if isinstance(plain, PlainRows) else None

    @property
    def keeps_numbers(self) -> bool:
        """Whether rows of numbers are given as `NumberRows`, not as tables."""
        return isinstance(self.plain_rows, PlainRows) and self.plain_rows.keeps_numbers

    def keep_numbers(self) -> None:
        """Give rows of numbers as `NumberRows` from now on."""
        if isinstance(self.plain_rows, PlainRows):
            self.plain_rows.keeps_numbers = self.plain_rows.number_names is not None

    @classmethod
    def from_config(cls, model: ModelConfig) -> Signature:
        """Compile the signature of a model.

        :raises ModelLoadError: it is malformed.
        """
        found = model.signature or SignatureConfig()
        try:
            schema = Schema.from_json(found.inputs) if found.inputs else None
            params = Params(read_params(found.params) if found.params else None)
        # It is JSON from anywhere: what of its shape is odd shows where it is read.
        except (SignatureError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ModelLoadError(
                "The model's signature is malformed: {}.".format(reason(error)),
                "Log the model again, or repair the signature in its MLmodel file.",
                "config",
            ) from error
        return cls(schema, params, model.is_signature_from_type_hint, model.traits.keeps_values)

    def enforce(self, data: Any) -> Any:
        """The data as the signature wants it.

        :raises ScoringError: names what does not fit.
        """
        if self.schema is None or self.from_type_hint:
            return data
        try:
            return self._enforce(data, self.schema)
        except ScoringError:
            raise
        except Exception as error:
            message = "The input does not fit the signature: {}.".format(reason(error))
            raise schema_error(message) from error

    def _enforce(self, data: Any, schema: Schema) -> Any:
        if isinstance(data, pd.Series):
            data = pd.DataFrame(data)
        if schema.is_tensor:
            if schema.is_named and len(schema) == 1 and isinstance(data, np.ndarray):
                data = {schema.names[0]: data}
            self._check_names(data, schema)
            return enforce_tensors(data, schema)
        if isinstance(data, pd.DataFrame):
            odd = self._odd_columns(data, schema)
            if odd is not None:
                return self._with_checked(data, odd)
        named = data if isinstance(data, dict) else self._to_frame(data)
        # Before pandas complains of what has no place in the table.
        self._check_names(named, schema)
        frame = self._to_frame(named)
        if schema.is_named:
            return self._named_columns(frame, schema)
        return self._unnamed_columns(frame, schema)

    def _check_names(self, data: Any, schema: Schema) -> None:
        if not schema.is_named:
            return
        names = list(getattr(data, "columns", data if isinstance(data, dict) else ()))
        present = set(names)
        missing = [name for name in schema.required_names if name not in present]
        extra = [name for name in names if name not in schema.by_name]
        if missing:
            message = "The inputs {} are missing.".format(missing)
            if extra:
                message += " Not in the signature: {}.".format(quote(extra))
            raise schema_error(message)
        if extra:
            logger.debug("Inputs that are not in the signature are dropped: %s.", quote(extra))

    def _named_columns(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        columns = {}
        changed = list(frame.columns) != schema.names
        for name, check in zip(schema.names, self._checks):
            if name in frame.columns:
                column = frame[name]
                if not isinstance(column, pd.Series):
                    raise schema_error("Column {!r} was sent more than once.".format(name))
                columns[name] = check(column)
                changed = changed or columns[name] is not column
        # The columns are nobody else's: they need no copy.
        return pd.DataFrame(columns, copy=False) if changed else frame

    def _odd_columns(self, frame: pd.DataFrame, schema: Schema) -> Optional[List[int]]:
        """The places of the columns that have another dtype than the signature wants.

        To take all columns out and look at each takes as long as reading them does.

        :returns: None where that is no help: names differ, or most columns are odd.
        """
        if self._kinds is None or frame.columns.tolist() != schema.names:
            return None
        settled = map(is_settled, frame.dtypes.tolist(), self._kinds)
        odd = [place for place, is_so in enumerate(settled) if not is_so]
        return odd if 2 * len(odd) < len(self._kinds) else None

    def _with_checked(self, frame: pd.DataFrame, places: List[int]) -> pd.DataFrame:
        """The table with the columns at these places as the signature wants them."""
        checked = frame
        for place in places:
            column = frame.iloc[:, place]
            values = self._checks[place](column)
            if values is not column:
                if checked is frame:
                    checked = frame.copy(deep=False)
                checked[column.name] = values
        return checked

    def _unnamed_columns(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        sent, wanted = len(frame.columns), len(schema)
        if sent < wanted:
            raise schema_error("The signature has {} inputs, got {}.".format(wanted, sent))
        return pd.DataFrame(
            {name: check(frame[name]) for name, check in zip(frame.columns, self._checks)}
        )

    def _to_frame(self, data: Any) -> pd.DataFrame:
        if isinstance(data, pd.DataFrame):
            return data
        if np.isscalar(data):
            return pd.DataFrame([data])
        if isinstance(data, dict):
            return self._dict_to_frame(data)
        if isinstance(data, (list, np.ndarray)):
            if isinstance(data, np.ndarray) and data.ndim > 2:
                raise schema_error(
                    "Expected a table, which has two dimensions, got an array of {}.".format(
                        data.ndim
                    )
                )
            return pd.DataFrame(data)
        raise schema_error("Expected a table, got {}.".format(type_name(data)))

    def _dict_to_frame(self, data: Dict[str, Any]) -> pd.DataFrame:
        values = list(data.values())
        if self._has_nested or all(map(_is_one_value, values)) or all(map(_is_text_scalar, values)):
            return pd.DataFrame([data])
        message = unequal(row_counts(data))
        if message is not None:
            raise schema_error(message)
        return pd.DataFrame(
            {
                name: value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value
                for name, value in data.items()
            }
        )


def _is_one_value(value: Any) -> bool:
    """Whether the value is one cell: a scalar or a list of texts."""
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return value is None or bool(np.isscalar(value))


def _is_text_scalar(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "U"


def _compile_column(name: Any, spec: Any, dates: bool) -> ColumnCheck:
    if isinstance(spec.type, DataType):
        plain = compile_check(name, spec.type)
        if not dates or spec.type is not DATETIME:
            return plain
        return lambda values: values if are_dates(values) else plain(values)
    enforce = compile_type(spec.type, spec.required)

    def check(column: pd.Series) -> pd.Series:
        try:
            values = [enforce(value) for value in column]
        except ScoringError as error:
            raise schema_error("Column {!r}: {}".format(name, error.message)) from error
        return pd.Series(values, index=column.index, name=column.name)

    return check
