"""In what two models differ, as far as it decides how they are served."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envs import EnvError
from envs.building.log import bare
from envs.disk.files import folder_files, read_regular
from envs.disk.yaml_file import read_yaml
from envs.managers.conda.channels import split_credentials
from envs.pip.lockfiles import LARGEST, PYLOCK, UV_LOCK
from envs.pip.pylock import parse_toml
from envs.pip.requirements_file import flatten
from envs.preparing import describe
from envs.spec import normalize_requirement, requirement_name
from launcher.commands.environment import EnvironmentOptions, build_errors, environment_spec
from launcher.commands.model_opening import ModelRequest, describe_model, identity_of
from launcher.console import Console
from launcher.engines.engine import ServerOptions
from launcher.engines.registry import engine_named
from launcher.inspection.signatures import columns, params

if TYPE_CHECKING:
    from envs import EnvSpec
    from envs.managers.manager import Description
    from launcher.artifacts import ModelSource
    from launcher.model.mlmodel import Model

# Of a flavor: compared as the Python of the model, and by what is in the files.
_SAID_ELSEWHERE = ("python_version", "env")
# Of what decides an environment: what the other sections are about.
_SEEN_ABOVE = (
    *("python", "platform", "lockfile", "requirements", "constraints"),
    *("channels", "specs"),
)


class Change(NamedTuple):
    """One thing that is not the same; None where a side has it not."""

    name: str
    a: str | None
    b: str | None


class Section(NamedTuple):
    """What was compared, how it differs, and a remark."""

    name: str
    changes: tuple[Change, ...]
    note: str | None = None


class Side(NamedTuple):
    """One of the two models.

    :param plan: its environment; None where it cannot be planned here, which ``why_not`` explains.
    """

    source: ModelSource
    model: Model
    spec: EnvSpec
    plan: Description | None
    why_not: str | None

    @property
    def title(self) -> str:
        """One line on what it is, with the name that a registry gave it."""
        identity = identity_of(self.source, self.model, None)
        title = describe_model(self.model, identity).removeprefix("model ")
        if self.source.name is not None:
            return title
        return title.removeprefix(f"{identity.title_of(self.model)}: ")

    def as_json(self) -> dict[str, Any]:
        """What is known of it, of which ids, day and size do not count as a difference."""
        model, plan = self.model, self.plan
        return {
            "uri": self.source.uri,
            "path": str(model.path),
            "name": self.source.name or model.name,
            "version": self.source.version,
            "model_id": model.model_id,
            "run_id": model.run_id,
            "uuid": model.uuid,
            "created": model.created and model.created.isoformat(),
            "size": sum(folder_files(model.path).values()),
            "environment": plan
            and {"manager": plan.env_manager, "key": plan.key, "is_built": plan.is_built},
        }


def open_side(request: ModelRequest, options: EnvironmentOptions, console: Console) -> Side:
    """Fetch and read a model, and plan its environment; builds nothing.

    :raises LauncherError: it is not there, or cannot be served.
    """
    engine = engine_named("scoring_server")
    source = request.resolve(console)
    model = request.read(source, engine, ServerOptions(), Console(quiet=True))
    spec = environment_spec(model, options, engine)
    try:
        plan, why_not = describe(spec, offline=options.build.offline), None
    except EnvError as error:
        plan, why_not = None, error.message
    return Side(source, model, spec, plan, why_not)


def compare(a: Side, b: Side) -> list[Section]:
    """Return what was compared, those that are the same without changes.

    :raises EnvironmentBuildError: requirements or a lockfile cannot be read.
    """
    of_a, of_b = a.model.signature or {}, b.model.signature or {}
    with build_errors():
        return [
            _section("versions", _versions(a), _versions(b)),
            _section("flavors", _flavors(a.model), _flavors(b.model)),
            _section("requirements", _requirements(a.spec), _requirements(b.spec)),
            _locks(a.spec, b.spec),
            *(
                _section(part, columns(of_a.get(part)), columns(of_b.get(part)))
                for part in ("inputs", "outputs")
            ),
            _section("params", params(of_a.get("params")), params(of_b.get("params"))),
            _environments(a, b),
        ]


def _section(
    name: str, a: Mapping[str, str], b: Mapping[str, str], note: str | None = None
) -> Section:
    changes = (Change(each, a.get(each), b.get(each)) for each in {**a, **b})
    return Section(name, tuple(each for each in changes if each.a != each.b), note)


def _versions(side: Side) -> dict[str, str]:
    model = side.model
    said = {
        "Python": side.spec.python and side.spec.python.strip().removeprefix("="),
        "MLflow": model.mlflow_version,
        "served as": model.flavor,
    }
    return {name: value for name, value in said.items() if value}


def _flavors(model: Model) -> dict[str, str]:
    found = {}
    for flavor, settings in model.flavors.items():
        found[flavor] = "yes"
        for name, value in settings.items():
            if name not in _SAID_ELSEWHERE and value is not None:
                found[f"{flavor}.{name}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def _requirements(spec: EnvSpec) -> dict[str, str]:
    """What the model asks for, with what is marked: conda's, of the build, and constraints."""
    wanted = flatten(spec.requirements, spec.base_dir)
    channels = (split_credentials(channel).url for channel in spec.conda_channels)
    specs = _named(map(bare, spec.conda_dependencies))
    return {
        **{f"channel {place}": url for place, url in enumerate(channels, 1)},
        **{f"conda {name}": text for name, text in specs.items()},
        **_named(wanted.canonical),
        **{f"build {n}": text for n, text in _named(spec.build_requirements).items()},
        **{f"constraint {n}": text for n, text in _named(wanted.canonical_constraints).items()},
    }


def _named(lines: Iterable[str]) -> dict[str, str]:
    """Names, and what their lines say of them; what has no name is its own."""
    found: dict[str, str] = {}
    for line in sorted(map(normalize_requirement, lines)):
        name = requirement_name(line)
        text = line[len(name) :].strip() or "any version" if name else "as it stands"
        name = name or line
        found[name] = f"{found[name]} and {text}" if name in found else text
    return found


def _locks(a: EnvSpec, b: EnvSpec) -> Section:
    if a.lockfile is None or b.lockfile is None or a.lockfile.name != b.lockfile.name:
        first, second = ({"file": x.lockfile.name} if x.lockfile else {} for x in (a, b))
        return _section("lockfile", first, second, None if first or second else "none")
    return _section("lockfile", _locked(a.lockfile), _locked(b.lockfile))


def _locked(path: Path) -> dict[str, str]:
    """The packages of a lockfile, with all versions that it has for one platform or another."""
    found: dict[str, set[str]] = {}
    try:
        if path.name in (PYLOCK, UV_LOCK):
            content = parse_toml(read_regular(path, LARGEST).decode())
        else:
            content = read_yaml(path)
        for row in content["packages" if path.name == PYLOCK else "package"]:
            found.setdefault(str(row["name"]), set()).add(str(row.get("version", "no version")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnvError(
            f"{path} cannot be read ({type(error).__name__}: {error}).",
            hint="Write it again: launcher lock.",
        ) from error
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}


def _environments(a: Side, b: Side) -> Section:
    """Keys; why they are not the same; and what is in the environments, where both are built."""
    if a.plan is None or b.plan is None:
        sides = (f"{name}: {x.why_not}" for name, x in (("A", a), ("B", b)) if x.why_not)
        return Section("environment", (), "not known. " + " ".join(sides))
    if a.plan.key == b.plan.key:
        built = "built already" if a.plan.is_built else "to be built"
        return Section("environment", (), f"{a.plan.key}, {built}")
    why: list[str] = []
    changes = [Change("key", a.plan.key, b.plan.key)]
    for name in {**a.plan.inputs, **b.plan.inputs}:
        values = [plan.inputs.get(name) for plan in (a.plan, b.plan)]
        if values[0] == values[1]:
            continue
        why.append(name.replace("_", " "))
        if name not in _SEEN_ABOVE:
            changes.append(Change(why[-1], *map(_shown, values)))
    if a.plan.packages is not None and b.plan.packages is not None:
        packages = _section("", a.plan.packages, b.plan.packages).changes
        changes += (each._replace(name=f"package {each.name}") for each in packages)
    return Section("environment", tuple(changes), f"because of: {', '.join(why)}")


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return " ".join(value) or None
    return json.dumps(value, default=str)
