from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from click.testing import Result

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.churn.plan import NO_CHURN, Action, Chance, ChurnPlan

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]


class Call(NamedTuple):
    settings: Settings
    peers: int
    summary: Path | None
    plain: bool
    churn: ChurnPlan = NO_CHURN
    first_port: int | None = None


@pytest.fixture
def calls(stand_in: StandIn) -> list[Call]:
    made: list[Call] = []

    def run_swarm(
        settings: Settings,
        peers: int,
        *,
        summary: Path | None,
        plain: bool,
        churn: ChurnPlan,
        first_port: int | None,
    ) -> int:
        made.append(Call(settings, peers, summary, plain, churn, first_port))
        return 0

    stand_in("marfl_peer.lab.swarm", run_swarm=run_swarm)
    return made


def test_defaults_are_sixteen_peers_with_a_shard_each(invoke: Invoke, calls: list[Call]) -> None:
    assert invoke("swarm").exit_code == 0
    assert calls == [Call(Settings(shards=16), 16, None, False)]


def test_options_reach_the_launcher(invoke: Invoke, calls: list[Call]) -> None:
    result = invoke(
        *("swarm", "--peers", "5", "--group-size", "3", "--summary", "s.json", "--plain", "--lr", "0.5"),
        MARFL_SEED="9",
    )
    assert result.exit_code == 0
    assert calls == [Call(Settings(group_size=3, lr=0.5, seed=9, shards=5), 5, Path("s.json"), True)]


def test_churn_plan_is_read_and_reaches_the_launcher(invoke: Invoke, calls: list[Call]) -> None:
    assert invoke("swarm", "--churn", "dropout:0.2", "--seed", "4").exit_code == 0
    (event,) = calls[0].churn.events
    assert (calls[0].churn.seed, event.action, event.peers) == (4, Action.DROPOUT, Chance(0.2))


def test_churn_plan_that_cannot_be_is_refused(invoke: Invoke, calls: list[Call]) -> None:
    result = invoke("swarm", "--churn", "kill:2")
    assert (result.exit_code, calls) == (2, [])
    assert result.stderr.startswith("marfl-peer: error: churn: 'kill:2': ")


@pytest.mark.parametrize(("flags", "first"), [((), None), (("--port", "7700"), 7700), (("--port", "0"), None)])
def test_ports_begin_where_one_is_given(
    invoke: Invoke, calls: list[Call], flags: tuple[str, ...], first: int | None
) -> None:
    assert invoke("swarm", *flags).exit_code == 0
    assert calls[0].first_port == first


def test_shards_that_are_given_are_kept(invoke: Invoke, calls: list[Call]) -> None:
    assert invoke("swarm", "--shards", "20", MARFL_PEERS="3").exit_code == 0
    assert (calls[0].peers, calls[0].settings.shards) == (3, 20)


@pytest.mark.parametrize("peers", ["0", "-1", "x", "1.5"])
def test_number_of_peers_that_cannot_be_is_refused(invoke: Invoke, calls: list[Call], peers: str) -> None:
    result = invoke("swarm", "--peers", peers)
    assert (result.exit_code, calls) == (2, [])
    assert result.stderr.startswith("marfl-peer: error: --peers: ")


def test_exit_code_of_the_launcher_is_the_command_s(invoke: Invoke, stand_in: StandIn) -> None:
    stand_in("marfl_peer.lab.swarm", run_swarm=lambda *_, **__: 130)
    assert invoke("swarm").exit_code == 130


def test_error_of_the_launcher_is_one_line(invoke: Invoke, stand_in: StandIn) -> None:
    def run_swarm(settings: Settings, peers: int, **_: object) -> int:
        raise ConfigError("peers", peers, "there are only 4 samples")

    stand_in("marfl_peer.lab.swarm", run_swarm=run_swarm)
    result = invoke("swarm")
    assert (result.exit_code, result.stderr) == (2, "marfl-peer: error: peers: 16: there are only 4 samples\n")


def test_encoder_works_before_peers_are_started(invoke: Invoke, calls: list[Call], stand_in: StandIn) -> None:
    codes = [130, 0]

    async def encode_ahead(settings: Settings, environment: Mapping[str, str]) -> int:
        return codes.pop(0)

    stand_in("marfl_peer.lab.encoding", encode_ahead=encode_ahead)
    assert invoke("swarm", "--task", "20news", "--encoder", "minilm").exit_code == 130
    assert calls == []
    assert invoke("swarm", "--task", "20news", "--encoder", "minilm").exit_code == 0
    assert calls[0].settings.encoder == "minilm"
