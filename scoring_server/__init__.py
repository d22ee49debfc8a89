"""The scoring server: runs inside the model's environment, on CPython 3.7 to 3.14.

It imports nothing of the launcher; its configuration is one JSON file.
"""

from .version import __version__ as __version__
