"""Everybody is asked, each for itself; who does not answer delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.observe.top.rows import Row
from marfl_peer.peer import canvass as canvass_module
from marfl_peer.peer.canvass import KEPT_ROUNDS, Canvass
from marfl_peer.peer.inquiry import NoAnswer


class Swarm:
    """Peers by their ports. `rows`: what each says of the members; an error is raised in place of an answer."""

    def __init__(self, **answers: dict[str, object] | Exception) -> None:
        self.answers = {int(name.removeprefix("p")): answer for name, answer in answers.items()}
        self.asked: list[int] = []
        self.at_once = self.most_at_once = 0

    async def ask(self, host: str, port: int, timeout_s: float) -> Mapping[str, object]:
        self.asked.append(port)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        answer = self.answers.get(port, NoAnswer("nobody", reason="Connection refused"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def canvass(self, *ports: int, at_a_time: int = 24) -> Canvass:
        given = [("h", port) for port in ports]
        return Canvass(given, timeout_s=1.0, ask=self.ask, wall=lambda: 5.0, at_a_time=at_a_time)


def member(port: int, status: str = "joined") -> dict[str, object]:
    return {"peer_id": f"id{port}", "address": f"h:{port}", "status": status, "connected": True}


def peer(port: int, *members: dict[str, object]) -> dict[str, object]:
    return {"peer_id": f"id{port}", "address": f"h:{port}", "peers": list(members)}


def told(rows: list[Row]) -> dict[str, str]:
    return {row.address: row.trouble for row in rows}


def test_all_that_a_peer_knows_are_asked_and_all_that_those_know_in_the_next_round() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(1, member(1), member(2)), p2=peer(2, member(1), member(2), member(3)), p3=peer(3))
        canvass = swarm.canvass(1)
        assert told(await canvass.round()) == {"h:1": "", "h:2": ""}
        assert told(await canvass.round()) == {"h:1": "", "h:2": "", "h:3": ""}
        assert swarm.asked == [1, 2, 1, 2, 3]

    asyncio.run(main())


def test_peer_that_does_not_answer_is_a_row_with_the_reason() -> None:
    async def main() -> None:
        swarm = Swarm(
            p1=peer(1, *(member(port) for port in range(1, 6))),
            p3=RemoteProtocolError("other_version", "protocol version 5 meets 6"),
            p4={"peer_id": 3},
            p5=NoAnswer("late", reason="no answer in time"),
        )
        rows = await swarm.canvass(1).round()
        troubles = told(rows)
        assert troubles.pop("h:4").startswith("bad_message: a status that is none")
        assert troubles == {
            "h:1": "",
            "h:2": "Connection refused",
            "h:5": "no answer in time",
            "h:3": "other_version: protocol version 5 meets 6",
        }
        assert {row.name for row in rows} == {"id1", "id2", "id3", "id4", "id5"}

    asyncio.run(main())


def test_peer_that_falls_silent_shows_what_it_said_last_and_is_gone_when_it_left() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(1, member(1), member(2)), p2=peer(2, member(1), member(2)) | {"iteration": 7})
        canvass = swarm.canvass(1)
        await canvass.round()
        del swarm.answers[2]
        (silent,) = (row for row in await canvass.round() if row.trouble)
        assert silent.status is not None
        assert (silent.name, silent.status.iteration) == ("id2", 7)
        swarm.answers[1] = peer(1, member(1), member(2, "left"))
        await canvass.round()
        assert told(await canvass.round()) == {"h:1": ""}

    asyncio.run(main())


def test_peer_that_was_lost_is_shown_for_a_while_when_no_view_has_it_any_more() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(1, member(1), member(2)), p2=peer(2))
        canvass = swarm.canvass(1)
        await canvass.round()
        del swarm.answers[2]
        swarm.answers[1] = peer(1, member(1))
        shown = [told(await canvass.round()) for _ in range(KEPT_ROUNDS + 1)]
        assert shown[0] == shown[KEPT_ROUNDS - 2] == {"h:1": "", "h:2": "Connection refused"}
        assert shown[-1] == {"h:1": ""}

    asyncio.run(main())


def test_all_are_asked_again_when_the_first_one_is_gone() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(1, member(1), member(2)), p2=peer(2, member(2)))
        canvass = swarm.canvass(1)
        await canvass.round()
        del swarm.answers[1]
        assert told(await canvass.round()) == {"h:1": "Connection refused", "h:2": ""}
        del swarm.answers[2]
        assert set(told(await canvass.round()).values()) == {"Connection refused"}
        swarm.answers[2] = peer(2, member(2))
        assert told(await canvass.round())["h:2"] == ""

    asyncio.run(main())


def test_peer_at_two_addresses_is_one_row() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(7, member(7)), p7=peer(7, member(7)))
        (row,) = await swarm.canvass(1).round()
        assert row.status is not None

    asyncio.run(main())


def test_few_are_asked_at_a_time() -> None:
    async def main() -> None:
        swarm = Swarm(p1=peer(1, *(member(port) for port in range(1, 126))))
        assert len(await swarm.canvass(1, at_a_time=10).round()) == 125
        assert swarm.most_at_once == 10

    asyncio.run(main())


def test_peer_that_names_everybody_and_nonsense_is_asked_for_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canvass_module, "MAX_ADDRESSES", 20)

    async def main() -> None:
        strange = [{"peer_id": "x", "address": text} for text in ("no address", "h:0", "\x1b[2J")]
        swarm = Swarm(p1=peer(1, *strange, *(member(port) for port in range(1, 500))))
        rows = await swarm.canvass(1).round()
        assert len(swarm.asked) <= 20
        assert "not an address" in {row.trouble for row in rows}

    asyncio.run(main())
