"""Asking all peers of a swarm how they are: from one address to all that its view names, a bounded number at a time.

Each peer has a deadline of its own; one that does not answer is told as such, and delays nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from marfl_peer.config import parse_address
from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.observe.status import Status, read_status
from marfl_peer.observe.top.rows import Row
from marfl_peer.peer.inquiry import NoAnswer, ask_status

Ask = Callable[[str, int, float], Awaitable[Mapping[str, object]]]
AT_A_TIME = 24
MAX_ADDRESSES = 4096
"""However many a peer names."""
KEPT_ROUNDS = 20
"""How long a peer that fell silent is shown when no view has it any more, unless it left on purpose."""
WAVES = 2
"""Peers that are named first by those that were just found are asked in the same round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of one address, asked at Unix time `at`: a status, or why there is none."""

    at: float
    status: Status | None = None
    trouble: str = ""


class Canvass:
    """`round` asks everybody who is known, and learns of others. `given` addresses are asked in any case."""

    def __init__(
        self,
        given: Sequence[tuple[str, int]],
        *,
        timeout_s: float,
        ask: Ask = ask_status,
        wall: Callable[[], float] = time.time,
        at_a_time: int = AT_A_TIME,
    ) -> None:
        self._given = tuple(_text(host, port) for host, port in given)
        self._timeout_s, self._ask, self._wall = timeout_s, ask, wall
        self._seats = asyncio.Semaphore(at_a_time)
        self._names: dict[str, str] = {}
        """Peer ids by the addresses under which others know them, as of the last round."""
        self._last: dict[str, Status] = {}
        self._silent: dict[str, int] = {}
        """For how many rounds more those are asked whom nobody names."""

    async def round(self) -> list[Row]:
        """One row for every peer, whether it answered or not."""
        answers: dict[str, Answer] = {}
        for _ in range(WAVES):
            new = [address for address in (*self._given, *self._names) if address not in answers]
            new = list(dict.fromkeys(new))[: MAX_ADDRESSES - len(answers)]
            found = await asyncio.gather(*(self._answer(address) for address in new))
            answers.update(zip(new, found, strict=True))
            self._learn(answers)
        self._silent = {address: left - 1 for address, left in self._silent.items() if left > 1}
        return self._rows(answers)

    async def _answer(self, address: str) -> Answer:
        try:
            host, port = parse_address(address)
            async with self._seats:
                answer = await self._ask(host, port, self._timeout_s)
            return Answer(at=self._wall(), status=read_status(answer))
        except NoAnswer as error:
            return Answer(at=self._wall(), trouble=error.reason)
        except ConfigError:
            return Answer(at=self._wall(), trouble="not an address")
        except MarflError as error:
            return Answer(at=self._wall(), trouble=f"{error.code}: {error}")

    def _learn(self, answers: Mapping[str, Answer]) -> None:
        """Who is asked next: the members that those who answered name."""
        statuses = [answer.status for answer in answers.values() if answer.status is not None]
        if not statuses:
            return  # those that were known are asked again
        named = [member for status in statuses for member in status.peers or () if member.address]
        left = {member.address for member in named if member.status == "left"}
        members = {member.address: member.peer_id for member in named if member.address not in left}
        unnamed = self._names.keys() - members.keys() - left
        for address in sorted(unnamed & {address for address, answer in answers.items() if answer.trouble}):
            if self._silent.setdefault(address, KEPT_ROUNDS) > 1:
                members[address] = self._names[address]
        self._names = dict(sorted(members.items())[:MAX_ADDRESSES])

    def _rows(self, answers: Mapping[str, Answer]) -> list[Row]:
        rows: dict[str, Row] = {}
        for address, answer in answers.items():
            status = answer.status
            if status is not None:
                self._last[address] = status
                # A peer may be asked at one address and announce another: it is one row.
                rows.setdefault(status.peer_id or address, Row(address=address, status=status, now=answer.at))
        for address, answer in answers.items():
            name = self._names.get(address)
            is_wanted = address in self._given or name is not None
            if answer.status is None and is_wanted and (name or address) not in rows:
                last = self._last.get(address)
                rows[name or address] = Row(
                    address=address, status=last, trouble=answer.trouble, peer_id=name, now=answer.at
                )
        return list(rows.values())


def _text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
