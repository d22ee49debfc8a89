"""Starts the scoring server: ``python -m scoring_server CONFIG``.

The launcher runs this file's folder instead (``python .../scoring_server CONFIG``) with an
interpreter that does not have the package. The folder above then stays off sys.path: the
packages beside this one were installed for another interpreter.

Either way the package runs under a name that no other has: a model may bring a package
``scoring_server`` of its own, in its code or its requirements.
"""

import importlib.util
import sys
from pathlib import Path

_NAME = "_mlmodel_launcher_scoring_server"


def _load() -> None:
    folder = Path(__file__).resolve().parent
    # Python put the folder itself first, where config.py and the like would be top-level modules.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        _NAME, str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    if __package__:  # -m has imported it under its own name
        for name in [each for each in sys.modules if each.partition(".")[0] == __package__]:
            del sys.modules[name]


if __name__ == "__main__":
    _load()
    sys.exit(importlib.import_module(_NAME + ".command_line").main())
