"""Every pod keeps to Kubernetes' restricted pod security standard, and secrets come from existing secrets only."""

import copy

import pytest

from tests.helm.chart import INSTALLATIONS, Container, Document, containers, of_kind, render

pytestmark = pytest.mark.needs("helm_python")

SECRET_VARIABLES = {
    "ATTUNE_SECRET", "ATTUNE_SERVICE_KEY", "ATTUNE_BOOTSTRAP_KEY", "ATTUNE_DATABASE_URL",
    "ATTUNE_AUDIENCE_DATABASE_URL", "ATTUNE_EXPERIMENTS_DATABASE_URL", "ATTUNE_FEEDBACK_DATABASE_URL",
}  # fmt: skip
SAFE_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def breaches(container: Container) -> list[str]:
    """What Kubernetes' pod security standard `restricted` forbids here, and a little more."""
    pod, spec = container.pod, container.spec
    of_pod, own = pod.get("securityContext", {}), spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.get(name)]
    found += [f"volume {v['name']}" for v in pod.get("volumes", []) if not SAFE_VOLUMES & (set(v) - {"name"})]
    found += ["hostPort" for port in spec.get("ports", []) if port.get("hostPort")]
    if own.get("privileged"):
        found.append("privileged")
    if own.get("allowPrivilegeEscalation") is not False:
        found.append("privilege escalation")
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
        found.append("capabilities")
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True or not own.get(
        "runAsUser", of_pod.get("runAsUser")
    ):
        found.append("root")
    if own.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("seccomp")
    if own.get("readOnlyRootFilesystem") is not True:
        found.append("writable root")
    if pod.get("automountServiceAccountToken") is not False:
        found.append("service account token")
    return found


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_every_pod_keeps_to_the_restricted_standard(values):
    found = {container.component: breaches(container) for container in containers(render(values))}
    assert len(found) in (6, 7)
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("breach", "change"),
    [
        ("hostNetwork", lambda pod: pod.update(hostNetwork=True)),
        ("volume scratch", lambda pod: pod.update(volumes=[{"name": "scratch", "hostPath": {"path": "/"}}])),
        ("root", lambda pod: pod["securityContext"].pop("runAsUser")),
        ("seccomp", lambda pod: pod["securityContext"].pop("seccompProfile")),
        ("capabilities", lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"])),
        ("privilege escalation", lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
        ("writable root", lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")),
    ],
)
def test_each_breach_of_the_standard_would_be_noticed(breach, change):
    container = next(containers(render({})))
    pod = copy.deepcopy(container.pod)
    change(pod)
    assert breaches(Container(container.owner, pod, pod["containers"][0])) == [breach]


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_every_container_has_requests_and_a_memory_limit(values):
    for container in containers(render(values)):
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), container.component
        assert "memory" in resources["limits"], container.component


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_the_chart_makes_no_secret_and_writes_none_out(values):
    documents = render(values)
    assert "Secret" not in {document["kind"] for document in documents}
    for container in containers(documents):
        for name, variable in container.variables.items():
            assert ("value" not in variable) == (name in SECRET_VARIABLES), name
            if name in SECRET_VARIABLES:
                assert variable["valueFrom"]["secretKeyRef"]["key"] == name


def test_each_container_gets_only_the_secrets_it_needs():
    def secrets(container: Container) -> set[str]:
        return set(container.variables) & SECRET_VARIABLES

    shared = {"ATTUNE_SECRET", "ATTUNE_SERVICE_KEY"}
    expected: dict[str, set[str]] = {}
    for service in ("audience", "experiments", "feedback"):
        own = shared | {f"ATTUNE_{service.upper()}_DATABASE_URL"}
        expected |= {service: own | {"ATTUNE_BOOTSTRAP_KEY"}, f"{service}-worker": own}
    found = {container.component: secrets(container) for container in containers(render({}))}
    migration = found.pop("migration")
    assert found == expected
    assert migration == {name for name in SECRET_VARIABLES if name.endswith("DATABASE_URL")} | {"ATTUNE_SECRET"}


def migration_of(values: Document) -> tuple[Document, Container]:
    documents = render(values, upgrade=True)
    return of_kind(documents, "Job")["migration"], next(c for c in containers(documents) if c.component == "migration")


@pytest.mark.parametrize("values", [{}, INSTALLATIONS["chosen in every place"]])
def test_the_migration_runs_before_the_chart_exists_and_needs_nothing_of_it(values):
    job, container = migration_of(values)
    annotations = job["metadata"]["annotations"]
    assert annotations["helm.sh/hook"].split(",") == ["pre-install", "pre-upgrade"]
    assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
    assert "serviceAccountName" not in container.pod
    assert "envFrom" not in container.spec
    assert {key for volume in container.pod["volumes"] for key in volume} == {"name", "emptyDir"}
    named = {v["valueFrom"]["secretKeyRef"]["name"] for v in container.variables.values() if "valueFrom" in v}
    chosen = values.get("migration", {}).get("existingSecret", "attune")
    assert named == {chosen, values.get("existingSecret", "attune")}


def test_the_owner_of_all_tables_may_have_a_secret_of_its_own():
    _, container = migration_of({"migration": {"existingSecret": "owner"}})
    secrets = {
        name: v["valueFrom"]["secretKeyRef"]["name"] for name, v in container.variables.items() if "valueFrom" in v
    }
    assert {name for name, secret in secrets.items() if secret == "owner"} == {"ATTUNE_DATABASE_URL"}
