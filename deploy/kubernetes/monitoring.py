"""What the Prometheus Operator is to scrape, with the labels that rules and dashboards of ``deploy`` go by."""

from __future__ import annotations

from typing import Any

from schemas.topics import SERVICES
from services.runtime.launch import Deployment

_NAME = "app.kubernetes.io/name"


def pod_monitor(deployment: Deployment) -> dict[str, Any]:
    """Every pod: ``job`` is its service, ``pipeline`` the pipeline of all but the registry, which may serve several."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "rivermill"},
        "spec": {
            "jobLabel": _NAME,
            "selector": {"matchLabels": {"app.kubernetes.io/part-of": "rivermill"}},
            "podMetricsEndpoints": [
                {
                    "port": "http",
                    "path": "/metrics",
                    "interval": "15s",
                    "scrapeTimeout": "10s",
                    "relabelings": [
                        {
                            "sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"],
                            "regex": "|".join(SERVICES),
                            "targetLabel": "pipeline",
                            "replacement": deployment.name,
                        }
                    ],
                }
            ],
        },
    }
