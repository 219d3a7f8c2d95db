"""From the group key to the group: announced once, looked up once, and not again while the line stays."""

from __future__ import annotations

import dataclasses

from averaging_peers import Averager, Shelf, averagers, until, view_of

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId, Round, RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer.groups import Groups
from marfl_peer.protocol.records import GroupBody, decode_body, encode_body


def groups_of(peer: Averager, shelf: Shelf) -> Groups:
    return Groups(
        me=peer.me,
        run_id=RunId("run"),
        identity=peer.identity,
        dht=shelf,  # type: ignore[arg-type]  # a stand-in with the two methods that are used
        links=peer.links,
        clock=Clock(),
        address=lambda: ("127.0.0.1", peer.port),
    )


def test_group_is_found_under_the_key_that_all_of_the_line_share(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(4, 10) as peers:
            view = view_of(peers, 2)
            groups = [groups_of(peer, shelf) for peer in peers]
            for round in (Round(1), Round(2)):
                found = [
                    await own.find(view, view.cell_of[peer.me], round) for peer, own in zip(peers, groups, strict=True)
                ]
                for peer, mates in zip(peers, found, strict=True):
                    cells = view.grid.line(view.cell_of[peer.me], round)
                    assert mates == tuple(view.peer_at[cell] for cell in cells)
            assert len(shelf.records) == 4, "two lines a round"
            assert all(len(announced) == 2 for announced in shelf.records.values())
            body = decode_body(
                shelf.records[groups[0].key(view, view.cell_of[peers[0].me], Round(1))][peers[0].me].body
            )
            assert body == GroupBody(host="127.0.0.1", port=peers[0].port, cell=0, iteration=1)

    on_loop(main())


def test_line_that_stays_is_neither_announced_nor_looked_up_again(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(4, 10) as peers:
            groups = groups_of(peers[0], shelf)
            for iteration in (1, 2, 3):
                view = view_of(peers, 2, iteration)
                groups.prepare(view)
                for round in (Round(1), Round(2)):
                    await groups.find(view, view.cell_of[peers[0].me], round)
            assert (groups.lookups, len(shelf.lookups), len(shelf.purposes)) == (2, 2, 2)
            await groups.close()

    on_loop(main())


def test_line_that_was_left_is_withdrawn(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(4, 10) as peers:
            groups = groups_of(peers[3], shelf)
            groups.prepare(view_of(peers, 2))
            await until(lambda: len(shelf.purposes) == 2)
            groups.prepare(view_of(peers[2:], 2, 2))
            await until(lambda: shelf.purposes.count("withdraw") == 2)
            await until(lambda: shelf.purposes.count("group") == 3)
            live = [
                record
                for announced in shelf.records.values()
                for record in announced.values()
                if not record.is_tombstone
            ]
            assert len(live) == 1
            await groups.close()

    on_loop(main())


def test_address_from_the_announcement_is_dialled(on_loop) -> None:
    """The view's own record may be older than the address."""

    async def main() -> None:
        shelf = Shelf()
        async with averagers(2, 10, connect=False) as (one, other):
            view = view_of([one, other], 2)
            one.links.learn(other.me, ("127.0.0.1", 1))
            announcing, groups = groups_of(other, shelf), groups_of(one, shelf)
            other.links.connect = lambda peer: None
            await announcing.find(view, view.cell_of[other.me], Round(1))
            await groups.find(view, view.cell_of[one.me], Round(1))
            await until(lambda: one.links.is_connected(other.me))

    on_loop(main())


def test_announcements_that_are_not_of_the_line_are_passed_over(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(2, 10, connect=False) as (one, other):
            view = view_of([one, other], 2)
            groups = groups_of(one, shelf)
            key = groups.key(view, view.cell_of[one.me], Round(1))
            body = encode_body(GroupBody(host="127.0.0.1", port=1, cell=1, iteration=1))
            for identity, content in ((Identity.ephemeral(), body), (other.identity, b"\xc1"), (other.identity, b"")):
                await shelf.publish(
                    identity.sign_record(key=key, body=content, expires_at=2_000_000_000), purpose="group"
                )
            assert await groups.find(view, view.cell_of[one.me], Round(1)) == (one.me, other.me)
            assert one.links._links[other.me].address == ("127.0.0.1", other.port)
            assert set(one.links._links) <= {one.me, other.me}
            await until(lambda: one.links.is_connected(other.me))

    on_loop(main())


def test_group_is_met_also_where_the_dht_is_down(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.is_down = True
        async with averagers(2, 10, connect=False) as (one, other):
            view = view_of([one, other], 2)
            await groups_of(one, shelf).find(view, view.cell_of[one.me], Round(1))
            await until(lambda: one.links.is_connected(other.me))

    on_loop(main())


def test_who_leads_is_dialled_first(on_loop) -> None:
    """It waits for all the others, and where a hundred dial all at once the last is reached half a minute later."""

    async def main() -> None:
        async with averagers(4, 10, connect=False) as peers:
            dialled: list[PeerId] = []
            peers[2].links.connect = dialled.append
            groups, lowest = groups_of(peers[2], Shelf()), min(peer.me for peer in peers)
            view = view_of(peers, 4)
            groups.meet(view, view.cell_of[peers[2].me], Round(1))
            assert dialled[0] == lowest
            assert set(dialled) == {peer.me for peer in peers}
            dialled.clear()
            view = dataclasses.replace(view, dial_only=frozenset({lowest}))
            groups.meet(view, view.cell_of[peers[2].me], Round(1))
            assert dialled == [*sorted(set(dialled) - {lowest}), lowest], "one that cannot be dialled does not lead"

    on_loop(main())
