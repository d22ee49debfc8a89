"""The credentials of package indexes, for a build and for nothing that it leaves."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envs.pip.indexes import IndexSettings


def netrc_for(indexes: IndexSettings, urls: Iterable[str]) -> str:
    """What a ``.netrc`` has to say for these indexes; empty where none asks for credentials.

    :param indexes: with credentials in their URLs.
    :param urls: of the files to download; this user's own ``.netrc`` may know their hosts.
    """
    given = [indexes.index_url or "", *indexes.extra_index_urls, *indexes.find_links]
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        # A name may stand before the URL.
        given += [each.partition("=")[2] or each for each in os.environ.get(name, "").split()]
    known = {
        parts.hostname: (unquote(parts.username), unquote(parts.password or ""))
        for parts in map(urlsplit, given)
        if parts.hostname and parts.username
    }
    own = _own_netrc()
    for host in {urlsplit(url).hostname for url in (*given, *urls)} - {None, *known}:
        found = own.hosts.get(str(host)) if own is not None else None
        if found is not None:
            known[str(host)] = (found[0], found[2] or "")
    return "".join(
        f"machine {host} login {user} password {password}\n"
        for host, (user, password) in sorted(known.items(), key=lambda item: str(item[0]))
    )


def _own_netrc() -> netrc.netrc | None:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path))
    except (OSError, netrc.NetrcParseError):
        # None, or one that no other program reads either.
        return None
