"""Files under deploy/ and docker-compose.yml, as far as they can be checked without a container engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from typer.testing import CliRunner

import runlane.adapters.redis.link
import runlane_executor.metrics
import runlane_gateway.gate
import runlane_gateway.webhook_deliveries
import runlane_recorder.metrics
import runlane_scheduler.metrics
from runlane.adapters.shared import open_shared
from runlane.clock import SystemClock
from runlane.settings import Settings, read_settings
from runlane_cli.main import app
from tests.support.nats import nats_server_binary
from tests.support.redis import RedisServer

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
_OURS = (runlane.adapters.redis.link, runlane_executor, runlane_gateway, runlane_recorder, runlane_scheduler)

#: Of the client library itself, and of Prometheus.
_FOREIGN = {"up", "process_resident_memory_bytes"}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    made = CliRunner().invoke(app, ["deploy-secrets", str(tmp_path / "secrets")])
    assert made.exit_code == 0, made.output
    return tmp_path / "secrets"


def test_the_compose_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_secret_of_the_compose_file_is_made(secrets: Path) -> None:
    for name, given in COMPOSE["secrets"].items():
        assert given["file"] == f"./deploy/secrets/{name}"
        assert (secrets / name).read_text().strip(), name


def test_making_secrets_again_changes_none(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert CliRunner().invoke(app, ["deploy-secrets", str(secrets)]).exit_code == 0
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o077 == 0


def test_every_service_gets_the_secrets_that_its_settings_name_and_no_more() -> None:
    for name, service in COMPOSE["services"].items():
        used = {given if isinstance(given, str) else given["source"] for given in service.get("secrets", [])}
        assert used <= set(COMPOSE["secrets"]), name
        named = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service.get("environment", {}))))
        # Services end when a file that they are told of is not there.
        assert named <= used, name
        if service.get("image") == "runlane:local" and "RUNLANE_NATS_USER" in service.get("environment", {}):
            assert used - named <= {"admin_key"}, name
    told = {name: COMPOSE["services"][name]["secrets"] for name in ("gateway", "executor", "scheduler", "recorder")}
    assert [name for name, secrets in told.items() if "redis_url" in secrets] == ["gateway", "executor"]
    assert [name for name, secrets in told.items() if "database_url" in secrets] == ["gateway", "recorder"]


def test_the_environment_of_every_service_can_be_read(secrets: Path) -> None:
    for name in ("gateway", "executor", "scheduler", "recorder", "migrate"):
        environment = {
            key: str(value).replace("/run/secrets", str(secrets))
            for key, value in COMPOSE["services"][name]["environment"].items()
        }
        settings = read_settings(environment)
        assert settings.nats_user == ("operator" if name == "migrate" else name)
        assert settings.nats_password
        assert (settings.stream_replicas, settings.durability) == (3, "fsync")
        settings.sealer()


def test_services_run_without_rights() -> None:
    assert "USER runlane" in (ROOT / "Dockerfile").read_text()
    for name in ("gateway", "executor", "scheduler", "recorder"):
        service = COMPOSE["services"][name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["healthcheck"]["test"], name


def test_our_image_is_looked_for_in_no_registry() -> None:
    """Before it is built, Compose asks one for every service that uses it, and ends when that fails."""
    for name, service in COMPOSE["services"].items():
        assert (service.get("pull_policy") == "never") == (service["image"] == "runlane:local"), name


def test_no_container_leaves_an_unnamed_volume_behind() -> None:
    """The image has a volume at /data; `secrets` goes with its volume, for it is run with --rm."""
    assert "VOLUME /data" in (ROOT / "Dockerfile").read_text()
    for name, service in COMPOSE["services"].items():
        if service["image"] == "runlane:local" and name != "secrets":
            mounted = [volume.split(":")[1] for volume in service.get("volumes", ())]
            assert "/data" in [*service.get("tmpfs", ()), *mounted], name


def test_what_is_secret_is_not_committed() -> None:
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_nats_server_accepts_its_configuration(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "nats.conf").write_text((ROOT / "deploy/nats/nats.conf").read_text())
    (tmp_path / "nats_access").write_text((secrets / "nats_access").read_text())
    command = [nats_server_binary(), "-t", "-c", str(tmp_path / "nats.conf")]
    checked = subprocess.run(command, env={**os.environ, "SERVER_NAME": "nats-1"}, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


async def test_redis_takes_its_configuration_and_the_services_its_url(secrets: Path, tmp_path: Path) -> None:
    server = RedisServer(config=secrets / "redis_conf")
    server.start()
    try:
        url = (secrets / "redis_url").read_text().strip().replace("redis:6379", f"127.0.0.1:{server.port}")
        settings = Settings(data_dir=tmp_path, redis_url=url)
        async with open_shared(settings, SystemClock(), patience=20) as shared:
            assert shared.degraded() == {}
    finally:
        server.remove()


@pytest.mark.parametrize("file", ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/runlane.json"])
def test_what_is_watched_is_measured(file: str) -> None:
    named = set(re.findall(r"\b(?:runlane_\w+|process_\w+|up)(?=[\[{)\s]|$)", _expressions(file)))
    assert named
    assert named - _FOREIGN <= _measured()


def test_every_metric_is_explained_to_operators() -> None:
    guide = (ROOT / "docs/guide/operating.md").read_text()
    assert {name for name in _measured(families=True) if name not in guide} == set()


def test_a_password_may_be_in_a_file_which_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush\n")
    assert read_settings({"RUNLANE_NATS_PASSWORD_FILE": str(tmp_path / "password")}).nats_password == "hush"
    both = {"RUNLANE_NATS_PASSWORD_FILE": str(tmp_path / "password"), "RUNLANE_NATS_PASSWORD": "louder"}
    assert read_settings(both).nats_password == "louder"
    with pytest.raises(Exception, match="RUNLANE_NATS_PASSWORD_FILE cannot be read"):
        read_settings({"RUNLANE_NATS_PASSWORD_FILE": str(tmp_path / "absent")})
    assert read_settings({}) == Settings()


def _expressions(file: str) -> str:
    text = (ROOT / file).read_text()
    if file.endswith(".json"):
        return "\n".join(target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"])
    return "\n".join(rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"])


def _measured(*, families: bool = False) -> set[str]:
    """The names of our time series; of `families`, as the guide writes them."""
    found = set()
    for family in REGISTRY.collect():
        if family.name.startswith("runlane_"):
            total = family.name + "_total" if family.type == "counter" else family.name
            histogram = {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
            found |= {total} if families or family.type != "histogram" else histogram
    return found
