"""JSON values cast to the signature's types, before the signature is enforced.

JSON knows no 32-bit integers, times or bytes; so what a JSON body brings is cast liberally (text
"1.5" is a double, base64 text is binary, ISO 8601 text a datetime), while tables from Parquet and
the like, which bring types of their own, are not. The rules are those of
`mlflow.utils.proto_json_utils` (`cast_df_types_according_to_schema`, `convert_data_type`).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import pandas as pd

from ..errors import ScoringError, quote, reason, type_name
from .datatypes import DATETIME_NS, is_text
from .misfits import column_misfit, nested_misfit, row_counts, told, unequal
from .nested import compile_type
from .schema import (
    BINARY,
    BOOLEAN,
    DATETIME,
    STRING,
    AnyType,
    Array,
    Column,
    DataType,
    Schema,
    Tensor,
)

Cast = Callable[[pd.Series], pd.Series]
_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}\s*\Z")


class FrameCaster:
    """Casts the columns of a DataFrame that was made from `dataframe_split` or `_records`.

    :param dates: whether texts that are dates become dates where the signature has a datetime.
    """

    def __init__(
        self, schema: Schema, casts: Optional[List[Optional[Cast]]] = None, *, dates: bool = False
    ) -> None:
        self._schema = schema
        if casts is None:
            casts = [compile_cast(spec) for spec in schema.inputs]
        self._casts = [_parse_dates if dates and cast is _parse_times else cast for cast in casts]

    @classmethod
    def for_csv(cls, schema: Schema, *, dates: bool = False) -> Optional[FrameCaster]:
        """The caster for what `pandas.read_csv` leaves open: times, and tensors. None for nothing.

        Binary columns stay text: CSV has no rule for bytes, and MLflow has none either.
        """
        casts = [
            compile_cast(spec) if isinstance(spec, Tensor) or spec.type is DATETIME else None
            for spec in schema.inputs
        ]
        return cls(schema, casts, dates=dates) if any(casts) else None

    def cast(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with the signature's columns cast; others stay as they are.

        :raises ScoringError: names the column that cannot be cast (BAD_REQUEST).
        """
        converted: Dict[Any, pd.Series] = {}
        for name, cast in self._targets(frame):
            if cast is None or name not in frame.columns:
                continue
            column = frame[name]
            if not isinstance(column, pd.Series):
                # A name that was sent twice; the enforcement refuses it if the model needs it.
                continue
            try:
                values = cast(column)
                if values is not column:
                    converted[name] = values
            except Exception as error:
                raise self._refusal(name, column, cast, error) from error
        return _assign(frame, converted)

    def _targets(self, frame: pd.DataFrame) -> List[Tuple[Any, Optional[Cast]]]:
        if self._schema.is_named:
            return list(zip(self._schema.names, self._casts))
        if self._schema.is_tensor:
            return [(name, self._casts[0]) for name in frame.columns]
        return list(zip(frame.columns, self._casts))

    def _refusal(self, name: Any, column: pd.Series, cast: Cast, error: Exception) -> ScoringError:
        spec: Any = self._schema.by_name.get(name) or self._schema.inputs[0]
        found = None
        if not isinstance(error, ScoringError):
            found = column_misfit(column, cast)
        return _not_readable("Column {!r}".format(name), spec, found or reason(error))


def _not_readable(where: str, spec: Any, why: str) -> ScoringError:
    kind = spec.dtype if isinstance(spec, Tensor) else spec.type
    words = "datetime (ISO 8601)" if kind is DATETIME else kind
    return ScoringError("{} cannot be read as {}: {}.".format(where, words, why))


def _assign(frame: pd.DataFrame, converted: Dict[Any, pd.Series]) -> pd.DataFrame:
    if not converted:
        return frame
    frame = frame.copy(deep=False)
    for name, values in converted.items():
        frame[name] = values
    return frame


def compile_cast(spec: Any) -> Optional[Cast]:
    """The function that casts a column of JSON values; None for one that stays as it is."""
    if isinstance(spec, Tensor):
        return _cast_tensor_column(spec.dtype)
    kind = spec.type
    if isinstance(kind, AnyType):
        return None
    if not isinstance(kind, DataType):
        enforce = compile_type(kind, spec.required)
        return lambda values: values.map(enforce)
    if kind is BINARY:
        return lambda values: values.map(_decoder(spec.required))
    if kind is DATETIME:
        return _parse_times
    if kind is BOOLEAN:
        return _cast_booleans
    return _cast_to(kind.pandas)


def _cast_to(dtype: np.dtype) -> Cast:
    def cast(values: pd.Series) -> pd.Series:
        if values.dtype == dtype or ((dtype == object or dtype.kind == "U") and is_text(values)):
            return values
        return values.astype(dtype)

    return cast


def _cast_tensor_column(dtype: np.dtype) -> Cast:
    plain = _cast_to(dtype)

    def cast(values: pd.Series) -> pd.Series:
        if dtype == np.dtype(bytes):
            return values.map(lambda text: text.encode("utf-8"))
        if len(values) == 0:
            raise ScoringError("There are no rows.")
        if isinstance(values.iloc[0], list):
            # A row of a tensor of more dimensions; the enforcement stacks and casts it.
            return values
        return plain(values)

    return cast


def _decoder(required: bool) -> Callable[[Any], Any]:
    def decode(text: Any) -> Any:
        if not isinstance(text, str) and not required and pd.isna(text) is True:
            return None
        if not isinstance(text, str):
            raise ScoringError("Expected base64 text, got {}.".format(told(text)))
        try:
            return base64.decodebytes(text.encode("utf-8"))
        except binascii.Error as error:
            raise ScoringError("The text is not base64: {}.".format(reason(error))) from error

    return decode


def _cast_booleans(values: pd.Series) -> pd.Series:
    if values.dtype == bool:
        return values
    missing = values.isna()
    if bool(missing.any()):
        # Missing values stay missing: a cast would make them False (None) or True (NaN).
        return values.where(missing, values.astype(bool))
    return values.astype(bool)


def _parse_times(values: pd.Series) -> pd.Series:
    try:
        parsed = pd.to_datetime(values)
    except ValueError:
        # pandas from 2 on takes its format from the first value: 2020-01-02 and 2020-01-02T03:04
        # in one column, or several time zones, need to be asked for. Before 2 this fails again.
        parsed = pd.to_datetime(values, format="ISO8601", utc=True)
    if getattr(parsed.dtype, "tz", None) is not None:
        # The signature's datetime has no time zone: take UTC.
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    return parsed.astype(DATETIME_NS) if parsed.dtype.kind == "M" else parsed


def _parse_dates(values: pd.Series) -> pd.Series:
    """`datetime.date` for a column of nothing but dates (2024-01-31), else times."""
    parsed = _parse_times(values)
    known = values.dropna()
    if not len(known) or not all(isinstance(v, str) and _DATE.match(v) for v in known):
        return parsed
    days = [None if value is pd.NaT else value.date() for value in parsed]
    return pd.Series(days, index=values.index, dtype=object)


def are_dates(values: pd.Series) -> bool:
    """Whether a column has dates without a time of day, and nothing else."""
    known = set(map(type, values.dropna())) if values.dtype == object else set()
    return known == {datetime.date}


def cast_value(name: Optional[str], data: Any, spec: Any) -> Any:
    """One value of `inputs` or `instances` as the signature's type; lists become arrays.

    :param spec: a `Column` or a `Tensor`; None where the signature says nothing.
    :param name: the input's; None for an unnamed one.
    :raises ScoringError: it cannot be cast (BAD_REQUEST).
    """
    if spec is None:
        return _to_array(data)
    where = "The input" if name is None else "Input {!r}".format(name)
    try:
        return _cast_value(data, spec)
    except ScoringError as error:
        raise _not_readable(where, spec, reason(error)) from error
    except Exception as error:
        one = spec.dtype if isinstance(spec, Tensor) else spec.type.numpy
        raise _not_readable(where, spec, nested_misfit(data, one)) from error


def _cast_value(data: Any, spec: Any) -> Any:
    if isinstance(spec, Tensor):
        return np.array(data, dtype=spec.dtype)
    kind = spec.type
    if isinstance(kind, DataType):
        return _cast_scalars(data, spec)
    if isinstance(kind, Array):
        return np.array(compile_type(kind, spec.required)(data))
    return compile_type(kind, spec.required)(data)


def _to_array(data: Any) -> np.ndarray:
    try:
        return np.array(data)
    except ValueError:
        # Lists of unequal length: numpy before 1.24 made an array of objects of them.
        return np.array(data, dtype=object)


def _cast_scalars(data: Any, spec: Column) -> Any:
    kind: Any = spec.type
    if kind in (BOOLEAN, STRING, BINARY):
        # numpy would make text of None, or False.
        if data is None:
            return None
        if _has_missing_scalars(data):
            items = [None if item is None else _cast_scalars(item, spec) for item in data]
            return np.array(items, dtype=object)
    if isinstance(data, (list, np.ndarray)):
        return np.array(data, kind.numpy)
    return np.array([data], kind.numpy)[0]


def _has_missing_scalars(data: Any) -> bool:
    return (
        isinstance(data, list)
        and any(item is None for item in data)
        and all(item is None or np.isscalar(item) for item in data)
    )


def cast_inputs(data: Any, schema: Optional[Schema]) -> Any:
    """The value of `inputs` (TensorFlow Serving's column format) with numpy values.

    :returns: for an object a dict of arrays, for a list of objects a list of dicts, for a list an
        array, for a single value a scalar.
    :raises ScoringError: it cannot be cast (BAD_REQUEST).
    """
    try:
        return _cast_inputs(data, schema)
    except ScoringError as error:
        raise ScoringError(error.message) from error
    except Exception as error:
        raise ScoringError("The input cannot be read: {}.".format(reason(error))) from error


def _cast_inputs(data: Any, schema: Optional[Schema]) -> Any:
    specs: Dict[str, Any] = {} if schema is None else schema.by_name
    if schema is not None:
        has_objects = isinstance(data, list) and any(isinstance(item, dict) for item in data)
        if len(specs) == 1 and isinstance(data, list) and not has_objects:
            data = {next(iter(specs)): data}
        elif not schema.is_named and not (isinstance(data, list) or np.isscalar(data)):
            raise ScoringError(
                "The signature has one unnamed input: send one array or one value, not {}.".format(
                    type_name(data)
                )
            )
    if isinstance(data, dict):
        return {name: cast_value(name, value, specs.get(name)) for name, value in data.items()}
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        return [
            {name: cast_value(name, value, specs.get(name)) for name, value in item.items()}
            for item in data
        ]
    name = next(iter(specs), None) if len(specs) == 1 else None
    return cast_value(name, data, None if schema is None else schema.inputs[0])


def cast_instances(data: Any, schema: Optional[Schema]) -> Any:
    """The value of `instances` (TensorFlow Serving's row format): rows become columns.

    :returns: for a list of objects a dict of arrays of one length, else as `cast_inputs`.
    :raises ScoringError: it cannot be cast, or lengths differ (BAD_REQUEST).
    """
    if not (isinstance(data, list) and data and isinstance(data[0], dict)):
        columns = cast_inputs(data, schema)
    else:
        try:
            columns = _rows_to_columns(data, schema)
        except ScoringError as error:
            raise ScoringError(error.message) from error
        except Exception as error:
            raise ScoringError("The instances cannot be read: {}.".format(reason(error))) from error
    if isinstance(columns, dict):
        _check_lengths(columns, schema)
    return columns


def _rows_to_columns(rows: List[Any], schema: Optional[Schema]) -> Dict[str, np.ndarray]:
    specs: Dict[str, Any] = {} if schema is None else schema.by_name
    columns: Dict[str, List[Any]] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise ScoringError("Expected only objects in instances, got {}.".format(quote(row)))
        for name, value in row.items():
            columns.setdefault(name, []).append(cast_value(name, value, specs.get(name)))
    return {name: np.array(values) for name, values in columns.items()}


def _check_lengths(columns: Dict[str, Any], schema: Optional[Schema]) -> None:
    single = [name for name, v in columns.items() if isinstance(v, np.ndarray) and v.ndim == 0]
    if single and (schema is None or schema.is_tensor):
        raise ScoringError("Expected lists of values for {}.".format(quote(single)))
    counted = row_counts(columns)
    if schema is not None and schema.is_named:
        kinds = {name: getattr(spec, "type", None) for name, spec in schema.by_name.items()}
        counted = {
            name: counted[name]
            for name in schema.required_names
            if name in counted and not isinstance(kinds[name], Array)
        }
    message = unequal(counted)
    if message is not None:
        raise ScoringError(message)
