from __future__ import annotations

from averaging_peers import Averager, Shelf, averagers

from marfl_peer.clock import Clock
from marfl_peer.ids import DhtKey, Iteration, Round, RunId
from marfl_peer.peer.announcements import Announcements
from marfl_peer.protocol.hashed import Hashing, seat_number
from marfl_peer.protocol.records import GroupBody, decode_body, encode_body

HASHING = Hashing(run_id=RunId("run"), buckets=1, rounds=2)
ONE, TWO = Iteration(1), Iteration(2)
KEYS = [HASHING.key(ONE, Round(round), 0) for round in (1, 2)]


def announcements(peer: Averager, shelf: Shelf, hashing: Hashing = HASHING) -> Announcements:
    return Announcements(
        hashing,
        identity=peer.identity,
        dht=shelf,  # type: ignore[arg-type]  # a stand-in with the methods that are used
        links=peer.links,
        clock=Clock(),
        address=lambda: ("127.0.0.1", peer.port),
        seeds=lambda: [("127.0.0.1", 7700)],
    )


def body_of(peer: Averager, iteration: int) -> GroupBody:
    return GroupBody(host="127.0.0.1", port=peer.port, cell=seat_number(peer.me), iteration=iteration)


def put(shelf: Shelf, key: DhtKey, peer: Averager, body: bytes) -> None:
    record = peer.identity.sign_record(key=key, body=body, expires_at=2**40)
    shelf.records.setdefault(key, {})[peer.me] = record


def test_peer_announces_itself_once_under_the_keys_of_all_rounds(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 1) as (peer,):
            shelf = Shelf()
            mine = announcements(peer, shelf)
            assert not mine.is_announced(ONE)
            await mine.announce(ONE)
            await mine.announce(ONE)
            assert mine.is_announced(ONE)
            assert sorted(shelf.records) == sorted(KEYS)
            assert shelf.purposes == ["group", "group"]
            assert decode_body(shelf.records[KEYS[0]][peer.me].body) == body_of(peer, 1)

    on_loop(main())


def test_others_of_the_bucket_are_found_with_their_addresses(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 1, connect=False) as peers:
            shelf = Shelf()
            for peer in peers:
                await announcements(peer, shelf).announce(ONE)
            peers[0].links._links.clear()
            mine = announcements(peers[0], shelf)
            assert await mine.look_up(ONE, Round(1)) == [peers[1].me, peers[2].me]
            assert peers[0].links._links[peers[1].me].address == ("127.0.0.1", peers[1].port)
            assert mine.lookups == 1
            assert await mine.look_up(TWO, Round(1)) == []

    on_loop(main())


def test_what_does_not_belong_under_the_key_is_not_believed(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, 1, connect=False) as peers:
            hashing = Hashing(run_id=RunId("run"), buckets=2, rounds=1)
            mine, shelf = peers[0], Shelf()
            bucket = hashing.bucket(mine.me, ONE, Round(1))
            key = hashing.key(ONE, Round(1), bucket)
            put(shelf, key, peers[1], b"")
            put(shelf, key, peers[2], b"\\x90")
            put(shelf, key, peers[3], encode_body(body_of(peers[3], 2)))
            put(shelf, key, peers[4], encode_body(body_of(peers[4], 1)))
            belongs = hashing.bucket(peers[4].me, ONE, Round(1)) == bucket
            found = await announcements(mine, shelf, hashing).look_up(ONE, Round(1))
            assert found == ([peers[4].me] if belongs else [])

    on_loop(main())


def test_announcements_of_iterations_that_are_over_are_let_go(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 1) as (peer,):
            shelf = Shelf()
            mine = announcements(peer, shelf)
            await mine.announce(ONE)
            await mine.announce(TWO)
            mine.forget_before(TWO)
            assert shelf.let_go == KEYS
            assert not mine.is_announced(ONE)
            assert mine.is_announced(TWO)

    on_loop(main())


def test_peer_without_contacts_enters_the_dht_before_it_announces_itself(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 1) as (peer,):
            shelf = Shelf()
            mine = announcements(peer, shelf)
            await mine.announce(ONE)
            assert shelf.entered_by == [[("127.0.0.1", 7700)]]
            shelf.contacts = [("127.0.0.1", 7700)]
            await mine.announce(TWO)
            assert len(shelf.entered_by) == 1

    on_loop(main())


def test_dht_that_is_down_is_nobody_found(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 1) as (peer,):
            shelf = Shelf()
            shelf.is_down = True
            mine = announcements(peer, shelf)
            await mine.announce(ONE)
            assert await mine.look_up(ONE, Round(1)) == []

    on_loop(main())
