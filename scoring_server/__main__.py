"""Starts the scoring server: ``python -m scoring_server CONFIG``.

The launcher runs this file's folder instead (``python .../scoring_server CONFIG``) with an
interpreter that does not have the package. The folder above then stays off sys.path: the
packages beside this one were installed for another interpreter.
"""

import sys

if not __package__:
    import importlib.util
    from pathlib import Path

    _folder = Path(__file__).resolve().parent
    # Python put the folder itself first, where config.py and the like would be top-level modules.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _folder]
    _spec = importlib.util.spec_from_file_location(
        "scoring_server", str(_folder / "__init__.py"), submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["scoring_server"] = _package
    _spec.loader.exec_module(_package)

from scoring_server.command_line import main

if __name__ == "__main__":
    sys.exit(main())
