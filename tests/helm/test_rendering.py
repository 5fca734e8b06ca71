"""The chart renders, for every installation, to objects that Kubernetes knows; and refuses values that nobody knows."""

import json
import tomllib
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, INSTALLATIONS, Document, files, of_kind, render

pytestmark = pytest.mark.needs("helm_python", "kubernetes_validate")

OPERATOR_KINDS = {"ServiceMonitor", "PrometheusRule"}  # the Prometheus Operator's, not Kubernetes' own


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_helm_finds_nothing_to_complain_about(values):
    import helm_python as helm

    report = helm.lint(CHART, values, strict=True)
    assert report["total_charts_linted"] == 1
    assert [message for message in report["messages"] if message["severity"] > 1] + report["errors"] == []


@pytest.mark.parametrize("kubernetes", ["1.27", "1.37"])
@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_every_object_is_valid_for_kubernetes(values, kubernetes):
    import kubernetes_validate as validator

    documents = [document for document in render(values) if document["kind"] not in OPERATOR_KINDS]
    assert len(documents) >= 12
    for document in documents:
        validator.validate(document, kubernetes, strict=True)


def test_the_validation_would_notice_a_misspelt_field():
    import kubernetes_validate as validator

    deployment = of_kind(render({}), "Deployment")["audience"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(validator.ValidationError):
        validator.validate(deployment, "1.34", strict=True)


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_no_two_objects_have_the_same_name(values):
    names = [(document["kind"], document["metadata"]["name"]) for document in render(values)]
    assert len(set(names)) == len(names)


def test_names_stay_valid_for_the_longest_release_name():
    for document in render({}, name="r" * 53):
        assert len(document["metadata"]["name"]) <= 63


def test_a_release_called_attune_is_not_attune_attune():
    assert "attune-audience" in {document["metadata"]["name"] for document in render({}, name="attune")}


def test_an_upgrade_renders_what_an_installation_renders():
    assert render({}, upgrade=True) == render({})


def test_what_needs_the_prometheus_operator_is_shown_by_a_value_only():
    def shown(values: Document) -> set[str]:
        return {document["kind"] for document in render(values)} & OPERATOR_KINDS

    assert shown({}) == set()
    assert shown({"monitoring": {"serviceMonitor": {"enabled": True}}}) == {"ServiceMonitor"}
    assert shown({"monitoring": {"alerts": {"enabled": True}}}) == {"PrometheusRule"}
    assert "Capabilities" not in "".join(path.read_text() for path in (CHART / "templates").iterdir())


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"monitorng": {}}, "monitorng"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"audience": {"service": {"replica": 2}}}, "replica"),
        ({"audience": {"service": {"resources": {"limits": {"memry": "1Gi"}}}}}, "memry"),
        ({"networkPolicy": {"callers": [{"podSelektor": {}}]}}, "podSelektor"),
        ({"networkPolicy": {"callers": [{}]}}, "callers"),
        ({"settings": {"currency": "euro"}}, "currency"),
        ({"settings": {"globalControlShare": 1}}, "globalControlShare"),
        ({"feedback": {"worker": {"replicas": "3"}}}, "replicas"),
        ({"feedback": {"worker": {"replicas": -1}}}, "replicas"),
        ({"existingSecret": ""}, "existingSecret"),
        ({"existingSecret": None}, "existingSecret"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"monitoring": {"serviceMonitor": {"interval": "often"}}}, "interval"),
    ],
)
def test_unknown_and_impossible_values_are_refused_by_name(values, word):
    import helm_python as helm

    with pytest.raises(helm.HelmValuesError, match=word):
        render(values)


def test_the_schema_leaves_no_object_open():
    def open_objects(schema: Any, place: str = "#") -> list[str]:
        if isinstance(schema, list):
            return [found for i, part in enumerate(schema) for found in open_objects(part, f"{place}/{i}")]
        if not isinstance(schema, dict):
            return []
        rest = schema.get("additionalProperties")
        is_open = schema.get("type") == "object" and rest is not False and rest != {"type": "string"}
        inner = [found for key, part in schema.items() for found in open_objects(part, f"{place}/{key}")]
        return [place, *inner] if is_open else inner

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert open_objects(schema) == ["#/properties/global"]  # Helm's own, where the chart is a dependency


def test_every_value_is_known_to_the_schema_and_every_known_value_has_a_default():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(part: dict[str, Any], given: Any, place: str) -> None:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if isinstance(given, dict) and "properties" in part:
            expected = set(part["properties"]) - {"global", "ephemeral-storage", "cpu"}
            assert set(given) - {"cpu"} == expected, place
            for name, value in given.items():
                compare(part["properties"][name], value, f"{place}/{name}")

    compare(schema, values, "")


def test_the_chart_needs_no_other_chart():
    import helm_python as helm

    with helm.Chart.load(CHART) as chart:
        assert chart.dependencies == []
        assert "dependencies" not in chart.metadata


def test_the_packaged_chart_holds_dashboard_and_alerts_and_not_the_files_of_compose(tmp_path):
    import helm_python as helm

    with helm.Chart.load(helm.package(CHART, destination=tmp_path)) as chart:
        names = {file["name"] for file in chart.files}
    assert {"dashboards/attune.json", "alerts/attune.yaml"} <= names
    assert not [name for name in names if name.startswith("compose/")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "http://shop-attune-feedback.marketing:8003"),
        ({"migration": {"enabled": False}}, "Migrations are switched off"),
        ({"networkPolicy": {"enabled": False}}, "No network policy is installed"),
        ({"networkPolicy": {"callers": []}}, "Nobody but the services themselves may call"),
    ],
)
def test_the_notes_say_where_to_go_and_what_is_unsafe(values, said):
    assert said in files(values)["attune/templates/NOTES.txt"]


def test_chart_and_project_have_the_same_version():
    project = tomllib.loads((CHART.parent / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project, project)
