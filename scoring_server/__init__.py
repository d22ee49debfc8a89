"""The scoring server: runs inside the model's environment, on CPython 3.7 to 3.14.

It imports nothing of the launcher; its configuration is one JSON file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from .version import __version__

if TYPE_CHECKING:
    import flask

    from .config import ServerConfig

__all__ = ["__version__", "create_app"]


def create_app(config: Union[ServerConfig, str]) -> flask.Flask:
    """The whole HTTP surface as one Flask application, for a WSGI server of one's own.

    The model is loaded here; its predictions take turns, unless the configuration has ``threads``
    above 1. Connections, time limits and worker processes are the WSGI server's business.

    :param config: the configuration, or the path of its JSON file.
    :raises ConfigError: the configuration cannot be used.
    :raises ModelLoadError: the model cannot be loaded.
    """
    from .wsgi import create_app

    return create_app(config)
