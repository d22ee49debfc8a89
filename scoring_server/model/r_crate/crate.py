"""A crate as a model: its function called with a data.frame."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

from ...config import CRATE, ServerConfig
from ...errors import ModelLoadError
from ...memory import bound_process
from ...signature.plain_rows import Table
from .process import RError, RProcess
from .writing import as_table

# How R says that it gets no more memory.
_WANT_OF_MEMORY = ("cannot allocate", "vector memory", "memory exhausted")


class RForm(NamedTuple):
    """A body in a form of MLflow's R server: `columns`, `split`, `records` or `csv`."""

    form: str
    text: str


class JsonText(bytes):
    """An answer that R has written as JSON already."""


class RCrate:
    """A crate in a process of R, which is started anew when it has ended."""

    def __init__(self, config: ServerConfig) -> None:
        flavor = config.model.flavors.get(CRATE) or {}
        path = Path(config.model.path, flavor.get("model") or "crate.bin")
        r = config.environment.r or {}
        if not path.is_file():
            raise ModelLoadError("The model has no file {}.".format(path.name), stage="config")
        if not r.get("rscript"):
            raise ModelLoadError("The configuration names no R to run the crate.", stage="config")
        self._arguments = (r["rscript"], str(path), bool(r.get("is_alone")))
        self._memory = config.server.worker_memory
        signature = config.model.signature
        columns = (signature.inputs if signature is not None else None) or []
        self._texts = [
            str(column["name"])
            for column in columns
            if column.get("type") == "string" and "name" in column
        ]
        self._turn = threading.Lock()
        self._process = self._started()

    def _started(self) -> RProcess:
        process = RProcess(*self._arguments)
        if self._memory is not None:
            bound_process(self._memory, process.pid)
        return process

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> Any:
        """The crate's answer to a table, params given to it by name; to an `RForm` a `JsonText`.

        :raises RError: the crate raised an error.
        :raises REndedError: R ended.
        :raises MemoryError: R got no more memory.
        :raises ScoringError: the data is no table, or R's types would lose something of it.
        """
        if isinstance(data, RForm):
            return JsonText(self._ask(data._asdict()).tolist()[0].encode("utf-8"))
        return self._ask({"table": self._table(data), "params": params or None})

    def _ask(self, request: Dict[str, Any]) -> Any:
        with self._turn:
            if self._process.has_ended:
                self._process.close()
                self._process = self._started()
            try:
                return self._process.ask(request)
            except RError as error:
                if str(error).startswith(_WANT_OF_MEMORY):
                    raise MemoryError(str(error)) from error
                raise

    def _table(self, data: Any) -> Any:
        """The table; columns that are text by the signature are, even if all is missing."""
        table = as_table(data)
        if isinstance(table, Table):
            return table
        for name in self._texts:
            if name in table.columns and bool(table[name].isna().all()):
                table = table.assign(**{name: table[name].astype("string")})
        return table

    def close(self) -> None:
        """End R."""
        self._process.close()
