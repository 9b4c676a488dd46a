"""The Helm chart: rendered by helm itself, checked against the schemas of Kubernetes and against our own settings."""

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runlane.settings import read_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "runlane"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = ("gateway", "executor", "scheduler", "recorder")
EVERYTHING = ("autoscaling.enabled=true", "ingress.enabled=true", "ingress.tlsSecret=tls", "metrics.podMonitor=true")


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("helm", path=sysconfig.get_path("scripts")) or shutil.which("helm")
    assert program is not None, "no helm: run `make install`"
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def rendered(*values: str) -> list[dict[str, Any]]:
    options = [part for value in values for part in ("--set", value)]
    ran = helm("template", "runlane", str(CHART), *options)
    assert ran.returncode == 0, ran.stderr
    return [document for document in yaml.safe_load_all(ran.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("values", [(), EVERYTHING], ids=["as it comes", "with everything"])
def test_kubernetes_takes_what_the_chart_renders(values: tuple[str, ...]) -> None:
    assert helm("lint", str(CHART), "--strict").returncode == 0
    documents = rendered(*values)
    for document in documents:
        if document["apiVersion"].partition("/")[0] not in ("keda.sh", "monitoring.coreos.com"):
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    kinds = {document["kind"] for document in documents}
    assert ("ScaledObject" in kinds) == bool(values)
    assert {f"runlane-{name}" for name in SERVICES} == set(of_kind(documents, "Deployment"))


@pytest.mark.parametrize(
    "wrong", ["image=", "nats.url=http://nats", "nats.replicas=2", "gateway.replicas=0", "gatewy.replicas=1"]
)
def test_values_that_cannot_work_are_refused(wrong: str) -> None:
    ran = helm("template", "runlane", str(CHART), "--set", wrong)
    assert ran.returncode != 0
    assert "values don't meet the specifications" in ran.stderr


def test_services_are_given_the_secrets_that_they_are_in_the_compose_file() -> None:
    documents = rendered()
    for name in (*SERVICES, "migrate"):
        document = (of_kind(documents, "Deployment") | of_kind(documents, "Job"))[f"runlane-{name}"]
        (volume,) = (volume for volume in pod_of(document)["volumes"] if volume["name"] == "secrets")
        given = {item["key"] for item in volume["secret"]["items"]}
        assert given == set(COMPOSE["services"][name]["secrets"]), name


def test_every_variable_is_a_setting_and_every_file_is_there(tmp_path: Path) -> None:
    for name, document in (of_kind(rendered(), "Deployment") | of_kind(rendered(), "Job")).items():
        pod = pod_of(document)
        (container,) = pod["containers"]
        environment = {variable["name"]: str(variable["value"]) for variable in container["env"]}
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
        files = tmp_path / name
        files.mkdir()
        for item in volume["secret"]["items"]:
            (files / item["path"]).write_text("hush")
        settings = read_settings({key: value.replace("/run/secrets", str(files)) for key, value in environment.items()})
        assert settings.nats_password == "hush"
        assert (settings.stream_replicas, settings.durability) == (3, "fsync")
        assert settings.health_port == container.get("ports", [{"containerPort": 9100}])[0]["containerPort"]


def test_nothing_runs_with_rights_it_does_not_need() -> None:
    for document in (*of_kind(rendered(), "Deployment").values(), *of_kind(rendered(), "Job").values()):
        pod = pod_of(document)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
            assert rights["capabilities"] == {"drop": ["ALL"]}


def test_services_have_time_to_drain() -> None:
    drain = read_settings({}).drain_grace
    for document in of_kind(rendered(), "Deployment").values():
        assert pod_of(document)["terminationGracePeriodSeconds"] > drain


def test_executors_that_are_scaled_by_keda_have_no_number_of_their_own() -> None:
    documents = rendered(*EVERYTHING)
    assert "replicas" not in of_kind(documents, "Deployment")["runlane-executor"]["spec"]
    assert of_kind(documents, "Deployment")["runlane-gateway"]["spec"]["replicas"] == 2
    (scaled,) = of_kind(documents, "ScaledObject").values()
    queries = {trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]}
    assert queries == {"sum(max by (lane) (runlane_queue_messages))", "sum(runlane_executions_running)"}
