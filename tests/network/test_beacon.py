import asyncio
import socket

import msgpack
import pytest

from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.ids import RunId
from marfl_peer.network.beacon import GROUP, MAX_SKEW_S, Beacon, decode_notice, encode_notice, multicast_socket
from marfl_peer.network.identity import Identity

LOOPBACK = "127.0.0.1"
RUN = RunId("run")


@pytest.fixture
def group():
    """The group at a port that is free."""
    probe = multicast_socket((GROUP, 0), LOOPBACK)
    with probe:
        return probe.getsockname()


class Ear:
    """Keeps sightings, and lets a test wait for a number of them."""

    def __init__(self):
        self.sightings = []
        self._changed = asyncio.Event()

    def __call__(self, sighting):
        self.sightings.append(sighting)
        self._changed.set()

    async def wait(self, count):
        while len(self.sightings) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.sightings


def make(identity, ear, group, clock, *, run_id=RUN, port=7700, interval_s=0.02):
    return Beacon(
        identity=identity,
        run_id=run_id,
        port=port,
        clock=clock,
        on_peer=ear,
        interface=LOOPBACK,
        interval_s=interval_s,
        group=group,
    )


def send(data, group):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        sock.sendto(data, group)


def test_beacons_of_one_run_find_each_other(run, clock, group):
    async def meet():
        one, other, stranger = (Identity.ephemeral() for _ in range(3))
        ears = [Ear() for _ in range(3)]
        async with (
            make(stranger, ears[2], group, clock, run_id=RunId("another")),
            make(one, ears[0], group, clock, port=1001),
            make(other, ears[1], group, clock, port=1002) as beacon,
        ):
            await ears[0].wait(1)
            await ears[1].wait(1)
            assert beacon.bytes_sent > 0
            assert beacon.bytes_received > 0
            assert beacon.rejected == {}
        # each hears the other, once, although beacons were sent often; nobody hears itself or another run
        assert [(s.peer_id, s.host, s.port) for s in ears[0].sightings] == [(other.peer_id, LOOPBACK, 1002)]
        assert [(s.peer_id, s.host, s.port) for s in ears[1].sightings] == [(one.peer_id, LOOPBACK, 1001)]
        assert ears[2].sightings == []

    run(meet())


def test_beacon_tells_a_changed_port_again(run, clock, group):
    async def move():
        mover, ear = Identity.ephemeral(), Ear()
        async with make(Identity.ephemeral(), ear, group, clock, interval_s=60):
            send(encode_notice(mover, run_id=RUN, port=1, now_wall=clock.wall()), group)
            send(encode_notice(mover, run_id=RUN, port=1, now_wall=clock.wall()), group)
            send(encode_notice(mover, run_id=RUN, port=2, now_wall=clock.wall()), group)
            return [sighting.port for sighting in await ear.wait(2)]

    assert run(move()) == [1, 2]


def test_beacon_garbage_is_counted_and_dropped(run, clock, group):
    async def disturb():
        ear, facts = Ear(), []
        beacon = Beacon(
            identity=Identity.ephemeral(), run_id=RUN, port=1, clock=clock, on_peer=ear,
            on_fact=facts.append, interface=LOOPBACK, interval_s=60, group=group,
        )  # fmt: skip
        async with beacon:
            for data in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", bytes(60_000)):
                send(data, group)
            send(encode_notice(Identity.ephemeral(), run_id=RUN, port=9, now_wall=clock.wall()), group)
            await ear.wait(1)  # it still hears
            assert beacon.rejected == {"beacon_malformed": 4}
        assert sum(fact.count for fact in facts) == 4

    run(disturb())


def test_notice_forged_or_stale(clock):
    identity = Identity.ephemeral()
    data = encode_notice(identity, run_id=RUN, port=7700, now_wall=1000.0)
    assert decode_notice(data, now_wall=1000.0 + MAX_SKEW_S).port == 7700
    with pytest.raises(RemoteProtocolError) as stale:
        decode_notice(data, now_wall=1001.0 + MAX_SKEW_S)
    assert stale.value.code == "beacon_stale"
    for index, value in ((0, "other"), (1, Identity.ephemeral().public_key), (2, 7701), (3, 1001)):
        fields = msgpack.unpackb(data)
        fields[index] = value
        with pytest.raises(RemoteProtocolError) as forged:
            decode_notice(msgpack.packb(fields), now_wall=1000.0)
        assert forged.value.code == "beacon_signature"


def test_socket_stays_on_its_interface_and_host_network(group):
    with multicast_socket(group, LOOPBACK) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 1
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4) == socket.inet_aton(LOOPBACK)


def test_error_of_the_body_stays_what_it_is(run, clock, group):
    async def go():
        async with make(Identity.ephemeral(), Ear(), group, clock):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(go())


def test_fault_of_the_listener_surfaces(run, clock, group):
    def broken(sighting):
        raise ZeroDivisionError

    async def go():
        async with make(Identity.ephemeral(), broken, group, clock):
            send(encode_notice(Identity.ephemeral(), run_id=RUN, port=9, now_wall=clock.wall()), group)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        run(go())
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("interface", ["203.0.113.7", "no address"])
def test_beacon_interface_that_is_not_there(run, clock, group, interface):
    async def enter():
        async with Beacon(
            identity=Identity.ephemeral(), run_id=RUN, port=1, clock=clock, on_peer=Ear(),
            interface=interface, group=group,
        ):  # fmt: skip
            pass

    with pytest.raises(ConfigError, match="give bootstrap addresses"):
        run(enter())
