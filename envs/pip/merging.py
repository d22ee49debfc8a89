"""One ``pylock.toml`` of several: what uv has resolved for each platform alone, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

from packaging.markers import Marker

from envs.building.interpreters import Interpreter
from envs.pip.platforms import Platform
from envs.pip.pylock import TOOL, marker_environment, parse_toml
from envs.pip.resolution import Resolution


def merge(texts: Mapping[Platform, str], interpreter: Interpreter) -> str:
    """Return the text of a lock for all platforms.

    A package that is the same on some of them is there once, with the wheels for each, and a
    marker unless it is the same on all. The table ``[tool.launcher]`` names the platforms, and the
    oldest systems that they stand for.

    :param texts: the lock of each platform.
    """
    documents = {platform: parse_toml(text) for platform, text in texts.items()}
    merged: dict[str, tuple[dict[str, Any], list[Platform]]] = {}
    for platform, document in documents.items():
        environment = marker_environment(interpreter, platform)
        for package in document.get("packages", []):
            marker = package.pop("marker", None)
            if marker is not None and not Marker(marker).evaluate(environment):
                continue
            wheels = package.pop("wheels", [])
            kept, on = merged.setdefault(_identity(package), ({**package, "wheels": []}, []))
            kept["wheels"] += [wheel for wheel in wheels if wheel not in kept["wheels"]]
            on.append(platform)
    first = next(iter(documents.values()))
    lines = [
        f"lock-version = {_value(first['lock-version'])}",
        f"environments = {_value([environment_marker(p.marker, interpreter) for p in texts])}",
        f"requires-python = {_value(first.get('requires-python', f'>={interpreter.minor}'))}",
        'created-by = "launcher"',
    ]
    for package, on in sorted(merged.values(), key=lambda pair: _order(*pair)):
        wheels = package.pop("wheels")
        if len(on) < len(documents):
            package["marker"] = " or ".join(f"({platform.marker})" for platform in on)
        lines += ["", "[[packages]]", *(f"{key} = {_value(package[key])}" for key in package)]
        if wheels:
            lines += ["wheels = [", *(f"    {_value(wheel)}," for wheel in wheels), "]"]
    floors = {platform.name: platform.floor for platform in texts}
    lines += ["", f"[tool.{TOOL}]", f"platforms = {_value([*floors])}"]
    lines += [f"oldest = {_value(floors)}"]
    return "\n".join(lines) + "\n"


def environment_marker(where: str, interpreter: Interpreter) -> str:
    """Return the marker of an environment: a platform's marker, and which Python."""
    return (
        f"python_version == '{interpreter.minor}' and {where}"
        f" and implementation_name == '{interpreter.implementation}'"
    )


def joined(resolutions: Sequence[Resolution], text: str) -> Resolution:
    """Return what is known of several resolutions, with the text that they make together."""
    notes = dict.fromkeys(each.note for each in resolutions if each.note)
    days = {each.as_of for each in resolutions}
    return replace(
        resolutions[0],
        text=text,
        as_of=days.pop() if len(days) == 1 else "today",
        note="; ".join(notes) or None,
    )


def _identity(package: Mapping[str, Any]) -> str:
    """What two entries have to agree in to be one: all but wheels and markers."""
    return json.dumps(package, sort_keys=True, default=str)


def _order(package: Mapping[str, Any], on: Sequence[Platform]) -> tuple[str, str]:
    return package["name"], on[0].name


def _value(value: Any) -> str:
    """A value as TOML has it, in one line (https://toml.io/en/v1.0.0)."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(timezone.utc)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name)
