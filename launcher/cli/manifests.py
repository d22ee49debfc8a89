"""``launcher generate-manifest``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from launcher.cli.parsing.command import Command, in_group
from launcher.cli.parsing.option_types import ASSIGNMENT
from launcher.errors import UsageError

KINDS = ("deployment", "kserve", "kserve-runtime", "compose", "systemd")


@click.command(cls=Command)
@in_group(
    "What is served",
    click.option(
        "-m", "--model-uri", metavar="URI",
        help="The model: gives the service its name. For kserve and systemd without --image it is "
        "also what is served.",
    ),
    click.option("--image", default="", metavar="NAME", help="The image that serves it."),
    click.option(
        "--fetch-at-start", is_flag=True,
        help="The image has no model: it gets the URI, and makes the environment when it starts.",
    ),
)  # fmt: skip
@in_group(
    "Output",
    click.option("--kind", type=click.Choice(KINDS), default="deployment", show_default=True),
    click.option("--name", help="A name for all of it.  [default: the model's]"),
    click.option("--namespace", metavar="NAME", help="The namespace of Kubernetes' objects."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
        help="The file to write; standard output without it.",
    ),
)  # fmt: skip
@in_group(
    "Size",
    click.option(
        "--replicas", default="2:4", show_default=True, metavar="LEAST[:MOST]",
        help="How many containers there are to be.",
    ),
    click.option(
        "--cpu", default="1", show_default=True, metavar="1|500m",
        help="Processors of a container; there is a worker for each.",
    ),
    click.option("--memory", default="1Gi", show_default=True, help="Memory of a container."),
    click.option(
        "--scale-by", type=click.Choice(["cpu", "queue"]), default="cpu", show_default=True,
        help="What more containers are started for; queue: requests that wait, which wants an "
        "adapter for Prometheus' metrics.",
    ),
)  # fmt: skip
@in_group(
    "Container",
    click.option("--token-secret", metavar="NAME", help="The secret with the key `token`."),
    click.option("--tls-secret", metavar="NAME", help="The secret with `tls.crt` and `tls.key`."),
    click.option("--cache-claim", metavar="NAME", help="The volume claim for environments."),
    click.option(
        "--env", "variables", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUE",
        help="A variable of the container, such as LAUNCHER_SERVE_TIMEOUT=20; repeatable.",
    ),
)  # fmt: skip
def generate_manifest(
    kind: str,
    model_uri: str | None,
    name: str | None,
    image: str,
    output: Path | None,
    **given: Any,
) -> None:
    """Write how a platform is to run a model's image."""
    from launcher.manifests.service import Service, dns_label

    if not image and kind in ("deployment", "kserve-runtime", "compose"):
        raise UsageError(
            f"A manifest of the kind {kind} needs --image.",
            "Build one with `launcher build-docker`, and push it to a registry.",
        )
    if name is None and model_uri is None and kind != "kserve-runtime":
        raise UsageError("The service needs a name.", "Give -m URI, or --name NAME.")
    is_fetched = given.pop("fetch_at_start") or (not image and kind in ("kserve", "systemd"))
    if is_fetched and model_uri is None:
        raise UsageError("There is no model to serve.", "Give one with -m URI.")
    service = Service(
        name=dns_label(name or _model_name(model_uri)),
        image=image,
        model_uri=model_uri if is_fetched else None,
        replicas=_replicas(given.pop("replicas")),
        variables=dict(given.pop("variables")),
        **given,
    )
    text = _text(kind, service)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.") from error


def _text(kind: str, service: Any) -> str:
    from launcher.manifests import deployment, kserve, machine

    if kind == "systemd":
        return machine.systemd_unit(service)
    make = {
        "deployment": deployment.deployment,
        "kserve": kserve.inference_service,
        "kserve-runtime": kserve.serving_runtime,
        "compose": machine.compose,
    }[kind]
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes what appears twice twice."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    return str(yaml.dump_all(make(service), Dumper=Dumper, sort_keys=False, width=100))


def _model_name(uri: str | None) -> str:
    """The name of a model that is looked at only where that is quick: here, or by its URI."""
    if uri is None:
        return "mlmodel-launcher"
    path = Path(uri.removeprefix("file:")).expanduser()
    if (path / "MLmodel").is_file():
        from launcher.model.mlmodel import read_model

        return read_model(path).name or path.resolve().name
    parts = [part for part in uri.partition(":")[2].split("@")[0].split("/") if part]
    if uri.startswith("models:") and parts:
        return parts[0]
    return parts[-1] if parts else uri


def _replicas(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)(?::([1-9]\d*))?", text)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if most < least:
        raise UsageError(f"--replicas {text!r} is not LEAST:MOST.", "Write it as 2 or as 2:4.")
    return least, most
