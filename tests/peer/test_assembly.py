"""The parts of a peer, put together: reachable when open, gone when closed."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.ids import RunId
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer.assembly import Network, build_aggregation, introduction, open_network
from marfl_peer.peer.hashed_placement import HashedPlacement
from marfl_peer.peer.inquiry import NoAnswer, ask_status
from marfl_peer.peer.outfit import outfit_of
from marfl_peer.peer.placements import GridPlacement
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.scheme import Mar
from marfl_peer.peer.switchboard import Switchboard

ADDRESS = ("127.0.0.1", 7700)


async def opened(stack: AsyncExitStack, settings: Settings) -> Network:
    return await open_network(
        stack,
        settings,
        outfit_of(Digits(), settings),
        switchboard=Switchboard(status=lambda: b'{"fine": true}', run_record=lambda: b""),
        clock=Clock(),
        entropy=os.urandom,
        tell=lambda fact: None,
    )


def roster_of(network: Network, run_id: str) -> Roster:
    return Roster(
        me=network.identity.peer_id,
        run_id=RunId(run_id),
        group_size=4,
        links=network.links,
        clock=Clock(),
        tell=lambda fact: None,
        on_news=lambda events: None,
    )


def test_network_answers_where_it_says_and_no_more_when_closed(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            network = await opened(stack, Settings(host="127.0.0.1", port=0, state_dir=tmp_path))
            assert network.identity.incarnation == 1
            assert network.dht.address == network.address
            with pytest.raises(NoAnswer):
                await ask_status(*network.address)  # it listens, but there is nobody behind it yet
            network.switchboard.roster = roster_of(network, "run")
            assert await ask_status(*network.address) == {"fine": True}
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(network.address)

    on_loop(main())


def test_port_in_use_is_a_config_error_and_nothing_stays_open(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = Settings(host="127.0.0.1", port=taken.getsockname()[1], state_dir=tmp_path)
            with pytest.raises(ConfigError, match="choose another"):
                async with AsyncExitStack() as stack:
                    await opened(stack, settings)

    on_loop(main())


def test_parts_share_one_length_and_one_iteration(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(host="127.0.0.1", port=0, state_dir=tmp_path)
        outfit = outfit_of(Digits(), settings)
        async with AsyncExitStack() as stack:
            network = await opened(stack, settings)
            roster = roster_of(network, settings.run_id)
            parts = build_aggregation(
                stack, settings, outfit, network, roster, scheme=Mar(), clock=Clock(), tell=lambda fact: None
            )
            assert parts.learner.schema is outfit.schema
            assert parts.aggregator.iteration == parts.iterations.iteration == 0
            assert not parts.training.is_over()

    on_loop(main())


def test_introductions_agree_where_the_shared_settings_do() -> None:
    one = introduction(Settings(), "ab", ADDRESS)
    assert introduction(Settings(port=1, threads=3), "ab", ADDRESS) == one
    assert introduction(Settings(lr=0.2), "ab", ADDRESS).settings_digest != one.settings_digest
    assert introduction(Settings(run_id="x"), "ab", ADDRESS).run_id != one.run_id


@pytest.mark.parametrize("placement", ["grid", "hashed"])
def test_placement_is_what_the_settings_say(on_loop, tmp_path: Path, placement: str) -> None:
    async def main() -> None:
        settings = Settings(host="127.0.0.1", port=0, state_dir=tmp_path, placement=placement, buckets=2)
        outfit = outfit_of(Digits(), settings)
        async with AsyncExitStack() as stack:
            network = await opened(stack, settings)
            roster = roster_of(network, settings.run_id)
            parts = build_aggregation(
                stack, settings, outfit, network, roster, scheme=Mar(), clock=Clock(), tell=lambda fact: None
            )
            assert isinstance(parts.placement, {"grid": GridPlacement, "hashed": HashedPlacement}[placement])
            assert parts.iterations.is_exact == (placement == "grid")

    on_loop(main())
