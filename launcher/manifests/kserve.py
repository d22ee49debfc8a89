"""KServe's objects: https://kserve.github.io/website/docs/reference/crd-api."""

from __future__ import annotations

from dataclasses import replace

from launcher.errors import UsageError
from launcher.images.dockerfile import PORT
from launcher.manifests.service import Document, Service, container, volumes

# The name by which KServe knows the container that answers.
CONTAINER = "kserve-container"
# What KServe's own storage initializer fetches.
_STORAGE = ("s3://", "gs://", "https://", "http://", "hf://", "pvc://", "abfs://", "abfss://")


def inference_service(service: Service) -> list[Document]:
    """An InferenceService of protocol V2.

    With an image of the model it is that container; without one, KServe fetches the model and
    chooses a runtime for the format mlflow.

    :raises UsageError: there is no image, and KServe cannot fetch the model.
    """
    least, most = service.replicas
    predictor: Document = {
        "minReplicas": least,
        "maxReplicas": most,
        "timeout": 60,
    }
    if service.image:
        predictor |= {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [_container(service)],
            "volumes": volumes(service),
        }
    else:
        if not (service.model_uri or "").startswith(_STORAGE):
            raise UsageError(
                f"KServe cannot fetch {service.model_uri}.",
                f"Give an image of the model with --image, or a URI of {', '.join(_STORAGE)}.",
            )
        resources = {"cpu": service.cpu, "memory": service.memory}
        predictor["model"] = {
            "modelFormat": {"name": "mlflow"},
            "protocolVersion": "v2",
            "storageUri": service.model_uri,
            "resources": {"requests": resources, "limits": dict(resources)},
        }
    return [
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": service.metadata(),
            "spec": {"predictor": predictor},
        }
    ]


def serving_runtime(service: Service) -> list[Document]:
    """A ClusterServingRuntime for MLflow's models, chosen before KServe's own for them.

    KServe mounts the model at /mnt/models; the environment is made when the container starts, or
    found in the cache.
    """
    service = replace(service, is_model_mounted=True)
    runs = container(service, CONTAINER)
    # Probes and the notice before the end are KServe's, which has a container of its own before it.
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        del runs[name]
    runs["env"].append({"name": "LAUNCHER_SERVE_NAME", "value": "{{.Name}}"})
    return [
        {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ClusterServingRuntime",
            "metadata": {"name": service.name, "labels": service.labels},
            "spec": {
                "annotations": {
                    "prometheus.kserve.io/port": str(PORT),
                    "prometheus.kserve.io/path": "/metrics",
                },
                "supportedModelFormats": [
                    {"name": "mlflow", "version": version, "autoSelect": True, "priority": 2}
                    for version in ("1", "2")
                ],
                "protocolVersions": ["v2"],
                "containers": [runs],
                "volumes": volumes(service),
            },
        }
    ]


def _container(service: Service) -> Document:
    found = container(service, CONTAINER)
    # Knative, which may run it, sets the variable PORT by it, refuses hooks, and waits for the
    # first readiness in place of a startup probe.
    found["ports"] = [{"containerPort": PORT, "protocol": "TCP"}]
    found["readinessProbe"]["httpGet"]["port"] = PORT
    for name in ("startupProbe", "livenessProbe", "lifecycle"):
        del found[name]
    found["env"].append({"name": "LAUNCHER_SERVE_NAME", "value": service.name})
    return found
