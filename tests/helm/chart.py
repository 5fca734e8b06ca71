"""The chart as Helm itself renders it, for several installations."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"

Document = dict[str, Any]

INSTALLATIONS: dict[str, Document] = {
    "as it stands": {},
    "everything shown": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
            "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True, "labels": {"grafana_dashboard": "yes"}},
        },
    },
    "bare": {
        "migration": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "monitoring": {"dashboard": {"enabled": False}},
    },
    "chosen in every place": {
        "image": {
            "repository": "registry.example.com/attune",
            "digest": "sha256:" + "0123456789abcdef" * 4,
            "pullPolicy": "Always",
            "pullSecrets": ["pull-one", "pull-two"],
        },
        "existingSecret": "shop-secrets",
        "migration": {"existingSecret": "shop-owner", "deadlineSeconds": 600},
        "settings": {
            "currency": "USD",
            "logLevel": "debug",
            "globalControlShare": 0.05,
            "databasePool": 20,
            "workerConcurrency": 4,
        },
        "feedback": {
            "service": {
                "replicas": 6,
                "resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}},
            },
            "worker": {"replicas": 3},
        },
        "scheduling": {
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "attune", "effect": "NoSchedule"}],
            "priorityClassName": "business",
        },
        "networkPolicy": {
            "callers": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "scrapers": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "database": {"port": 6432, "to": [{"ipBlock": {"cidr": "10.1.2.0/24", "except": ["10.1.2.9/32"]}}]},
        },
    },
    "nobody may call": {"networkPolicy": {"callers": [], "scrapers": []}},
}


class Container(NamedTuple):
    """One container, with what it belongs to."""

    owner: Document
    pod: Document
    spec: Document

    @property
    def component(self) -> str:
        return str(self.owner["metadata"]["labels"]["app.kubernetes.io/component"])

    @property
    def variables(self) -> dict[str, Document]:
        return {variable["name"]: variable for variable in self.spec["env"]}


@cache
def _rendered(values: str, name: str, upgrade: bool) -> dict[str, str]:
    import helm_python as helm  # not there everywhere: tests that render need it

    with helm.Chart.load(CHART) as chart:
        rendered: dict[str, str] = chart.render(
            json.loads(values), name=name, namespace="marketing", is_install=not upgrade, is_upgrade=upgrade
        )
    return rendered


def files(values: Document, *, name: str = "shop", upgrade: bool = False) -> dict[str, str]:
    """What Helm renders, by template."""
    return _rendered(json.dumps(values), name, upgrade)


def render(values: Document, *, name: str = "shop", upgrade: bool = False) -> list[Document]:
    """All Kubernetes objects of an installation."""
    return [
        document
        for path, text in files(values, name=name, upgrade=upgrade).items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    """Objects of one kind, by component."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document
        for document in documents
        if document["kind"] == kind
    }


def containers(documents: list[Document]) -> Iterator[Container]:
    """Every container of every pod, the migration's included."""
    for document in documents:
        if document["kind"] in ("Deployment", "Job"):
            pod = document["spec"]["template"]["spec"]
            for spec in (*pod.get("initContainers", []), *pod["containers"]):
                yield Container(document, pod, spec)
