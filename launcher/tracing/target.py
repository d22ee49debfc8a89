"""Where traces go, and which are sampled: our option, and the variables of OpenTelemetry.

The variables: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from launcher.errors import UsageError

# In the order in which they count; the first has the whole URL.
_OF_TRACES, _OF_ALL = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
_PATH = "/v1/traces"
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


class TraceTarget(NamedTuple):
    """Where traces are exported to, by OTLP over HTTP.

    :param is_asked: it was asked for here, not by a variable that is for all programs.
    """

    url: str
    is_asked: bool


def trace_target(endpoint: str, where: str) -> TraceTarget:
    """The target of an endpoint.

    :param where: where it was given: ``the variable OTEL_EXPORTER_OTLP_ENDPOINT``.
    """
    name = where.rpartition(" ")[2]
    if name == _OF_TRACES or endpoint.rstrip("/").endswith(_PATH):
        return TraceTarget(endpoint, name != _OF_TRACES)
    return TraceTarget(endpoint.rstrip("/") + _PATH, name != _OF_ALL)


def checked(
    target: TraceTarget, unable: str | None, warn: Callable[[str], None]
) -> TraceTarget | None:
    """The target if spans can be exported there, else None.

    What a variable for all programs asks for in vain is warned about.

    :param unable: the name of the engine where that has no traces.
    :raises UsageError: it was asked for here in vain.
    """
    if not target.is_asked and _is_off():
        return None
    problem = _problem(target, unable)
    if problem is None:
        return target
    if target.is_asked:
        raise UsageError(*problem)
    warn(f"no traces are exported to {target.url}, of OpenTelemetry's variable: {problem[0]}")
    return None


def _is_off() -> bool:
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return is_disabled or os.environ.get("OTEL_TRACES_EXPORTER", "").lower() == "none"


def _problem(target: TraceTarget, unable: str | None) -> tuple[str, str] | None:
    if unable is not None:
        return f"The engine {unable} has no --otlp-endpoint.", "Leave it out."
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if not target.is_asked and protocol not in (None, "http/protobuf"):
        return f"OTLP is spoken over HTTP (http/protobuf), not as {protocol}.", ""
    try:
        parts = urlsplit(target.url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        return f"{target.url!r} is no URL of a collector.", "For example: http://127.0.0.1:4318."
    if not all(map(_is_installed, _PACKAGES)):
        from envs.extras import how_to_install

        # One line: it is a warning, too.
        said = "The packages that export traces are not installed here: "
        return said + how_to_install("otel"), "Install them beside the launcher, or leave it out."
    return None


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is in
        return False


def sampling(warn: Callable[[str], None]) -> dict[str, Any]:
    """Which traces are sampled, as the scoring server's configuration has it.

    The names are those of OTEL_TRACES_SAMPLER: the server decides, so that what is not sampled
    costs next to nothing.
    """
    name = os.environ.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
    inner = name.removeprefix("parentbased_")
    ratio = {"always_on": 1.0, "always_off": 0.0, "traceidratio": 1.0}.get(inner)
    if ratio is None:
        warn(f"OTEL_TRACES_SAMPLER is {name!r}, which is not known here: all traces are sampled")
        return {"ratio": 1.0, "follows_parent": True}
    if inner == "traceidratio":
        text = os.environ.get("OTEL_TRACES_SAMPLER_ARG") or "1"
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            warn(f"OTEL_TRACES_SAMPLER_ARG is {text!r}, no ratio of 0 to 1: 1 is used")
            ratio = 1.0
    return {"ratio": ratio, "follows_parent": name != inner}
