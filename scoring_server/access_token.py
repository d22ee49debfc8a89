"""The bearer token that guards routes (RFC 6750)."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Optional

from .config import ConfigError


class AccessToken:
    """What clients must send in `Authorization`; without a token everybody may come in."""

    def __init__(self, token: Optional[bytes] = None) -> None:
        self._token = token

    @classmethod
    def read(cls, path: Optional[str]) -> AccessToken:
        """Read the token from a file.

        :param path: None for no token.
        :raises ConfigError: the file cannot be read or is empty.
        """
        if path is None:
            return cls()
        try:
            token = Path(path).read_bytes().strip()
        except OSError as error:
            raise ConfigError("Cannot read the token file: {}.".format(error)) from error
        if not token:
            raise ConfigError("The token file {} is empty.".format(path))
        return cls(token)

    def fits(self, authorization: str) -> bool:
        """Whether a request with this `Authorization` field (perhaps empty) may come in."""
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), self._token
        )
