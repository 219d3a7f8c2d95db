"""What the files for containers say: the same settings everywhere, all of them known, and one size for all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from marfl_peer.cli.settings import PREFIX
from marfl_peer.config import KINDS, Settings, parse_address

ROOT = Path(__file__).resolve().parent.parent
COMPOSE, STACK, LAN = "docker-compose.yml", "docker/stack.yml", "docker/compose.lan.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")))


def peer_of(path: str) -> dict[str, Any]:
    (file,) = documents(path)
    assert [name for name, one in file["services"].items() if "marfl-peer" in one["image"]] == ["peer"]
    peer: dict[str, Any] = file["services"]["peer"]
    return peer


def stateful_set() -> dict[str, Any]:
    (found,) = (one for one in documents("docker/kubernetes.yml") if one["kind"] == "StatefulSet")
    return found


def pod_peer() -> dict[str, Any]:
    (peer,) = stateful_set()["spec"]["template"]["spec"]["containers"]
    assert isinstance(peer, dict)
    return peer


def environment_of(path: str) -> dict[str, str]:
    """What a peer's environment is where whoever starts it sets nothing."""
    if path.endswith("kubernetes.yml"):
        return {item["name"]: item["value"] for item in pod_peer()["env"]}
    given = peer_of(path)["environment"]
    return {name: VARIABLE.sub(lambda found: found[3] or "", str(value)) for name, value in given.items()}


FILES = [COMPOSE, STACK, "docker/kubernetes.yml"]


@pytest.mark.parametrize("path", FILES)
def test_environment_of_a_peer_is_made_of_settings(path: str) -> None:
    names = {name.removeprefix(PREFIX).lower() for name in environment_of(path)}
    assert names <= set(KINDS)
    assert names >= {"run_id", "task", "bootstrap", "wait_for", "shards", "group_size", "iterations"}


@pytest.mark.parametrize("path", FILES)
def test_as_many_peers_as_are_waited_for_and_have_data(path: str) -> None:
    given = environment_of(path)
    if path.endswith("kubernetes.yml"):
        replicas = str(stateful_set()["spec"]["replicas"])
    else:
        replicas = peer_of(path)["deploy"]["replicas"]
        assert replicas == peer_of(path)["environment"]["MARFL_SHARDS"], "one variable sets them all"
        replicas = VARIABLE.sub(lambda found: found[3], replicas)
    assert given["MARFL_SHARDS"] == given["MARFL_WAIT_FOR"] == replicas == "16"


@pytest.mark.parametrize("path", FILES)
def test_peers_start_from_a_name_that_is_all_of_them(path: str) -> None:
    name, port = parse_address(environment_of(path)["MARFL_BOOTSTRAP"])
    assert port == Settings().port
    if path.endswith("kubernetes.yml"):
        service, peers = documents(path)
        assert service["kind"] == "Service"
        assert service["metadata"]["name"] == peers["spec"]["serviceName"] == name
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True, "none is ready before it has found the others"
        assert service["spec"]["selector"].items() <= peers["spec"]["template"]["metadata"]["labels"].items()
        assert {(one["port"], one["protocol"]) for one in service["spec"]["ports"]} >= {(7700, "TCP"), (7700, "UDP")}
    else:
        assert name in documents(path)[0]["services"]
    if path == STACK:
        assert peer_of(path)["deploy"]["endpoint_mode"] == "dnsrr"
        assert peer_of(path)["healthcheck"] == {"disable": True}, "only healthy tasks have a name"


@pytest.mark.parametrize("path", FILES)
def test_what_a_peer_may_take_is_limited_and_its_state_is_kept(path: str) -> None:
    if path.endswith("kubernetes.yml"):
        spec = stateful_set()["spec"]
        limits, mounts = pod_peer()["resources"]["limits"], pod_peer()["volumeMounts"]
        assert [mount["mountPath"] for mount in mounts] == ["/state"]
        assert [mount["name"] for mount in mounts] == [one["metadata"]["name"] for one in spec["volumeClaimTemplates"]]
    else:
        limits = peer_of(path)["deploy"]["resources"]["limits"]
        (volume,) = peer_of(path)["volumes"]
        assert volume.endswith("/state")
        assert peer_of(path)["init"] is True
        assert peer_of(path)["stop_grace_period"] == "60s"
    assert set(limits) >= {"memory"} and limits.keys() & {"cpu", "cpus"}


def test_tasks_of_a_stack_have_a_volume_each() -> None:
    (file,) = documents(STACK)
    assert "{{.Task.Slot}}" in file["volumes"]["state"]["name"]


def test_compose_file_names_no_version_and_a_stack_one() -> None:
    assert "version" not in documents(COMPOSE)[0], "the newer compose warns of it"
    assert documents(STACK)[0]["version"] == "3.8", "the older docker wants one"


def test_hosts_of_a_lan_share_all_but_number_and_subnet() -> None:
    (file,) = documents(LAN)
    assert file["services"] == {"peer": {"deploy": {"replicas": file["services"]["peer"]["deploy"]["replicas"]}}}
    assert file["services"]["peer"]["deploy"]["replicas"].startswith("${MARFL_PEERS_HERE:?")
    network = file["networks"]["default"]
    assert network["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert network["ipam"]["config"][0]["subnet"].startswith("${MARFL_SUBNET:?")


def test_pods_are_probed_where_peers_answer_and_get_no_strange_settings() -> None:
    peer, pod = pod_peer(), stateful_set()["spec"]["template"]["spec"]
    ports = {port["name"]: port["containerPort"] for port in peer["ports"]}
    assert str(ports["metrics"]) == environment_of("docker/kubernetes.yml")["MARFL_METRICS_PORT"]
    probes = {kind: peer[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {"metrics"}
    assert pod["enableServiceLinks"] is False, "MARFL_PEER_SERVICE_HOST is no setting"
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
