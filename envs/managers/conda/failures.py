"""What py-rattler says when something fails, in words for users."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.building.context import Context
from envs.disk.files import disk_full
from envs.errors import EnvError
from envs.managers.conda.channels import Channel

REWRITE = "Write it again: launcher lock --env-manager conda."
GIVE_CREDENTIALS = (
    "Put user name and password, or the token, into the channel's URL:"
    " https://${NAME}:${PASSWORD}@..., https://host/t/${TOKEN}/..."
)
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded")
_OFFLINE = re.compile(r"no usable repodata cache|the shard for package .* cache|launcher-offline")
_NO_CHANNEL = re.compile(r"could not find subdir|404 Not Found")
_REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b")
_HASH = re.compile(r"hash mismatch|mismatch(ed)? .*(sha256|md5)|expected .*actual", re.IGNORECASE)
_DAMAGED = re.compile(r"invalid checksum|failed to (unpack|extract)|corrupt", re.IGNORECASE)
_NETWORK = re.compile(
    r"error sending request|client error|timed? out|connection|dns|error decoding response body",
    re.IGNORECASE,
)
_DECORATION = re.compile("[\u2500-\u257f]+")


@dataclass(frozen=True)
class Failure:
    """What py-rattler said: the exception's class, and its words."""

    kind: str
    message: str

    def error(
        self, context: Context, channels: Sequence[Channel], lockfile: Path | None
    ) -> EnvError:
        """Return the error for a user: which channel, package or spec it is, and what to do."""
        text = " ".join(_DECORATION.sub(" ", self.message).split())
        if _DISK_FULL.search(text):
            return disk_full(context.home)
        if self.kind == "Ended":
            last = self.message.splitlines()[-1]
            return context.log.error(f"py-rattler ended without a result: {last}.", "Try again.")
        if self.kind == "LockMismatch":
            return EnvError(f"{lockfile} {text}.", hint=REWRITE)
        if self.kind == "BadSpec":
            return EnvError(f"conda.yaml: {text.rstrip('.')}.", hint="Correct that line.")
        if self.kind == "SolverError":
            reason = text.removeprefix("Cannot solve the request because of: ").rstrip(". ")
            return context.log.error(
                f"The conda requirements cannot be resolved: {_shortened(reason)}.",
                "Correct conda.yaml: its versions, or its channels.",
            )
        return self._of_transfer(text, context, channels)

    def _of_transfer(self, text: str, context: Context, channels: Sequence[Channel]) -> EnvError:
        """Return the error for a channel or package that could not be had."""
        package = re.search(r"failed to fetch (\S+)|the shard for package '([^']+)'", text)
        name = (package[1] or package[2]) if package else ""
        what = f"The conda package {name}" if package else _channel(text, channels)
        if _HASH.search(text):
            return wrong_hash(name)
        cause = _shortened(
            self.message.strip().splitlines()[-1].removeprefix("Caused by: ").rstrip(".")
        )
        refused = _REFUSED.search(text)
        if _OFFLINE.search(text):
            message = f"{what} is not in the cache, and nothing may be downloaded."
            hint = "Run it once with a network."
        elif _NO_CHANNEL.search(text):
            message = f"{what} {'cannot be found' if package else 'is not there'}."
            hint = "Check the channels in conda.yaml."
        elif refused is not None:
            message, hint = f"{what} refuses access: {refused[1]}.", GIVE_CREDENTIALS
        elif package and _DAMAGED.search(text):
            message, hint = f"{what} is damaged: {cause}.", "Have the channel repaired."
        elif _NETWORK.search(text):
            message = f"{what} cannot be reached: {cause}."
            hint = "Check the network and the channels."
        else:
            message, hint = f"py-rattler failed ({self.kind}): {cause}.", "See the log."
        return context.log.error(message, hint)


def _channel(text: str, channels: Sequence[Channel]) -> str:
    """Return the channel that a message is about, without credentials."""
    for channel in channels:
        if any(url and url in text for url in (channel.token_url, channel.url)):
            return f"The conda channel {channel.url}"
    return "A conda channel"


def wrong_hash(name: str) -> EnvError:
    """Return the error for a conda package (its file name) that is not what it should be."""
    return EnvError(
        f"The hash of the conda package {name} is not the expected one.",
        hint="The channel or something on the way to it has changed the file.",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:397]}..."
