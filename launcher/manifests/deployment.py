"""A Deployment, and what belongs to it, for a Kubernetes with nothing added but metrics.

https://kubernetes.io/docs/reference/kubernetes-api/; the ServiceMonitor is the Prometheus
operator's.
"""

from __future__ import annotations

from launcher.manifests.service import (
    GRACEFUL,
    NOTICE,
    REST,
    Document,
    Service,
    container,
    volumes,
)

QUEUE_METRIC = "launcher_queue_depth"


def deployment(service: Service) -> list[Document]:
    """All objects, in the order in which they are to be made."""
    return [
        _deployment(service),
        _service(service),
        _disruption_budget(service),
        _autoscaler(service),
        _service_monitor(service),
    ]


def _deployment(service: Service) -> Document:
    pod = {
        "automountServiceAccountToken": False,
        # The variables of other services could be taken for settings.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": NOTICE + GRACEFUL + REST,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": service.selector},
            }
        ],
        "containers": [container(service)],
        "volumes": volumes(service),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": service.metadata(),
        # No replicas: they are the autoscaler's.
        "spec": {
            "selector": {"matchLabels": service.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": {"labels": service.labels}, "spec": pod},
        },
    }


def _service(service: Service) -> Document:
    port = 443 if service.tls_secret else 80
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": service.metadata(),
        "spec": {
            "selector": service.selector,
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _disruption_budget(service: Service) -> Document:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": service.metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": service.selector}},
    }


def _autoscaler(service: Service) -> Document:
    if service.scale_by == "queue":
        # Wants an adapter that gives Prometheus' figures to Kubernetes.
        metric: Document = {
            "type": "Pods",
            "pods": {
                "metric": {"name": QUEUE_METRIC},
                "target": {"type": "AverageValue", "averageValue": "4"},
            },
        }
    else:
        metric = {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 70},
            },
        }
    least, most = service.replicas
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": service.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [metric],
            # A container takes a while until it can help: what it is taken away for passes first.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def _service_monitor(service: Service) -> Document:
    endpoint: Document = {"port": "http", "path": "/metrics", "interval": "15s"}
    if service.tls_secret:
        authority = {"secret": {"name": service.tls_secret, "key": "tls.crt"}}
        endpoint |= {
            "scheme": "https",
            "tlsConfig": {"ca": authority, "serverName": service.name},
        }
    if service.token_secret:
        credentials = {"name": service.token_secret, "key": "token"}
        endpoint["authorization"] = {"credentials": credentials}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": service.metadata(),
        "spec": {"selector": {"matchLabels": service.selector}, "endpoints": [endpoint]},
    }
