"""``launcher generate-manifest``: what it writes, checked by those who define it."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from launcher.cli.main import main

# The oldest that has all the objects, one between, the newest that the validator knows.
KUBERNETES = ["1.25", "1.30", kubernetes_validate.latest_version()]
SECRETS = ["--token-secret", "iris-token", "--tls-secret", "iris-tls"]
VARIANTS = [
    [],
    SECRETS,
    ["--fetch-at-start", "--cache-claim", "environments", "--scale-by", "queue"],
]


def generate(*arguments: str) -> str:
    command = ["generate-manifest", "-m", "models:/Iris Flowers/3", *arguments]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0, ended.output
    return ended.output


def documents(*arguments: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(generate("--image", "registry/iris:3", *arguments)))


def by_kind(*arguments: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in documents(*arguments)}


def strictly_valid(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("variant", VARIANTS, ids=["plain", "secrets", "fetched"])
def test_a_deployment_is_valid(version: str, variant: list[str]) -> None:
    found = by_kind(*variant, "--namespace", "models")
    monitor = found.pop("ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert list(found) == [
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    ]  # fmt: skip
    for document in found.values():
        strictly_valid(document, version)


def test_the_validator_sees_what_is_wrong() -> None:
    deployment = by_kind()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["image_pull_policy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        strictly_valid(deployment, KUBERNETES[-1])


def test_a_restricted_namespace_accepts_the_pod() -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    pod = by_kind()["Deployment"]["spec"]["template"]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all({"emptyDir", "secret"} & volume.keys() for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["runAsNonRoot"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_secrets_are_files_and_the_probes_know_of_tls() -> None:
    found = by_kind(*SECRETS)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {each["name"]: each["value"] for each in container["env"]}
    folders = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert environ["LAUNCHER_SERVE_TOKEN_FILE"] == folders["token"] + "/token"
    assert environ["LAUNCHER_SERVE_TLS_CERT"] == folders["tls"] + "/tls.crt"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["authorization"]["credentials"]["name"] == "iris-token"


def test_a_stop_has_the_time_that_it_takes() -> None:
    pod = by_kind()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    notice = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] > notice + 30  # --graceful-timeout


def test_it_scales_by_what_was_asked_for() -> None:
    by_cpu = by_kind("--replicas", "1:7")["HorizontalPodAutoscaler"]["spec"]
    assert (by_cpu["minReplicas"], by_cpu["maxReplicas"]) == (1, 7)
    assert by_cpu["metrics"][0]["resource"]["name"] == "cpu"
    by_queue = by_kind("--scale-by", "queue")["HorizontalPodAutoscaler"]["spec"]
    assert by_queue["metrics"][0]["pods"]["metric"]["name"] == "launcher_queue_depth"


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("kind", ["kserve", "kserve-runtime"])
@pytest.mark.parametrize("variant", VARIANTS[:2], ids=["plain", "secrets"])
def test_what_kserve_gets_is_a_pod_that_kubernetes_takes(
    kind: str, variant: list[str], version: str
) -> None:
    (document,) = documents("--kind", kind, *variant)
    spec = document["spec"].get("predictor", document["spec"])
    pod = {"containers": spec["containers"], "volumes": spec["volumes"]}
    (container,) = pod["containers"]
    assert container["name"] == "kserve-container"
    metadata = {"name": "iris"}
    strictly_valid({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}, version)


def test_kserve_fetches_what_it_can_where_there_is_no_image() -> None:
    command = ["generate-manifest", "--kind", "kserve", "-m"]
    ended = CliRunner().invoke(main, [*command, "s3://bucket/iris"])
    (document,) = yaml.safe_load_all(ended.output)
    model = document["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "mlflow"}
    assert model["protocolVersion"] == "v2"
    assert model["storageUri"] == "s3://bucket/iris"
    refused = CliRunner().invoke(main, [*command, "models:/iris/3"])
    assert refused.exit_code == 2
    assert "KServe cannot fetch models:/iris/3." in refused.output


def test_the_runtime_comes_before_kserves_own() -> None:
    (runtime,) = documents("--kind", "kserve-runtime")
    formats = runtime["spec"]["supportedModelFormats"]
    assert [(each["name"], each["version"]) for each in formats] == [
        ("mlflow", "1"), ("mlflow", "2"),
    ]  # fmt: skip
    assert all(each["autoSelect"] and each["priority"] > 1 for each in formats)


@pytest.mark.parametrize("more", [[], ["--fetch-at-start"], ["--cache-claim", "environments"]])
def test_the_runtime_has_one_place_for_environments(more: list[str]) -> None:
    (runtime,) = documents("--kind", "kserve-runtime", *more)
    (runs,) = runtime["spec"]["containers"]
    assert [each["name"] for each in runtime["spec"]["volumes"]] == ["tmp", "cache"]
    assert [each["name"] for each in runs["volumeMounts"]] == ["tmp", "cache"]


def test_a_compose_file_is_as_closed_as_the_pod() -> None:
    (document,) = documents("--kind", "compose", *SECRETS, "--cpu", "500m", "--memory", "2Gi")
    model = document["services"]["model"]
    assert model["read_only"] is True
    assert model["cap_drop"] == ["ALL"]
    assert model["deploy"]["resources"]["limits"] == {"cpus": "0.5", "memory": "2g"}
    assert set(document["secrets"]) == {each["source"] for each in model["secrets"]}


@pytest.mark.parametrize("image", [[], ["--image", "registry/iris:3"]], ids=["launcher", "podman"])
def test_a_unit_is_one(image: list[str]) -> None:
    text = generate("--kind", "systemd", *image, *SECRETS, "--env", "GREETING=50% off $5")
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert ("podman" in service["ExecStart"]) is bool(image)
    if image:
        assert "'GREETING=50%% off $$5'" in service["ExecStart"]
    else:
        assert service["Type"] == "notify"
        assert "-m 'models:/Iris Flowers/3'" in service["ExecStart"]


def test_names_are_what_kubernetes_takes() -> None:
    assert by_kind()["Service"]["metadata"]["name"] == "iris-flowers"
    assert by_kind("--name", "7 Étoiles!")["Service"]["metadata"]["name"] == "model-7-toiles"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "models:/iris/1"], "needs --image"),
        (["--image", "x"], "needs a name"),
        (["-m", "a", "--image", "x", "--replicas", "4:2"], "'4:2' is not LEAST:MOST"),
        (["-m", "a", "--image", "x", "--env", "A"], "'A' is not NAME=VALUE"),
        (["--name", "a", "--kind", "systemd"], "no model to serve"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], message: str) -> None:
    ended = CliRunner().invoke(main, ["generate-manifest", *arguments])
    assert ended.exit_code == 2
    assert message in ended.output


READ = """
import json, sys
import kserve.models, kubernetes.client.models
from kserve import ApiClient, Configuration
# Their fields are of Kubernetes' own classes, which are looked for among KServe's.
for name in dir(kubernetes.client.models):
    if name.startswith("V1"):
        setattr(kserve.models, name, getattr(kubernetes.client.models, name))
for text in sys.argv[1:]:
    document = json.loads(text)
    name = {"InferenceService": "V1beta1InferenceService",
            "ClusterServingRuntime": "V1alpha1ClusterServingRuntime"}[document["kind"]]
    class Answer: data = text
    read = ApiClient(Configuration()).deserialize(Answer, name)
    print(json.dumps(ApiClient(Configuration()).sanitize_for_serialization(read)))
"""


@pytest.mark.slow
def test_kserves_own_classes_read_all_of_it(tmp_path: Path) -> None:
    """What its classes do not know they leave out: what comes back is what went in."""
    pip = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python"]
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "uv", "venv", "--quiet", python.parents[1]], check=True)
    subprocess.run([*pip, python, "kserve==0.21.0", "kubernetes<32"], check=True)
    given = [
        documents("--kind", "kserve")[0],
        documents("--kind", "kserve", *SECRETS)[0],
        documents("--kind", "kserve-runtime", "--cache-claim", "environments")[0],
    ]
    ended = subprocess.run(
        [python, "-c", READ, *map(json.dumps, given)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [json.loads(line) for line in ended.stdout.splitlines()] == given
