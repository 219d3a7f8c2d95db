import asyncio

import pytest

from marfl_peer.ids import dht_key
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import records, signatures

KEY = dht_key("a line")


@pytest.fixture
def checks(monkeypatch):
    """How often a signature was really checked."""
    calls = []
    real = signatures.verify

    def counted(*arguments):
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(signatures, "verify", counted)
    return calls


def with_checker(use, **named):
    async def go():
        rejections = Rejections(None)
        use(RecordChecker(rejections, **named), rejections.total)
        rejections.close()

    asyncio.run(go())


def test_checker_checks_the_same_bytes_once(speak, clock, checks):
    record = speak()
    data = records.encode(record)

    def use(checker, rejected):
        for _ in range(5):
            assert checker.accept(data, key=KEY, now_wall=clock.wall()) == record
        assert len(checks) == 1
        assert not rejected

    with_checker(use)


def test_checker_still_checks_key_and_expiry_of_known_bytes(speak, clock):
    data = records.encode(speak(lifetime_s=10))

    def use(checker, rejected):
        assert checker.accept(data, key=KEY, now_wall=clock.wall())
        assert checker.accept(data, key=KEY, now_wall=clock.wall() + 10) is None
        assert checker.accept(data, key=dht_key("other"), now_wall=clock.wall()) is None
        assert rejected == {"record_expired": 1, "record_key": 1}

    with_checker(use)


def test_checker_rejects_forged_again_and_again(speak, clock, checks):
    data = bytearray(records.encode(speak()))
    data[-1] ^= 1

    def use(checker, rejected):
        for _ in range(3):
            assert checker.accept(bytes(data), key=KEY, now_wall=clock.wall()) is None
        assert rejected == {"record_signature": 3}
        assert checker.accept(b"garbage", key=KEY, now_wall=clock.wall()) is None
        assert rejected["record_malformed"] == 1

    with_checker(use)


def test_checker_memory_is_bounded(speak, clock, checks):
    encoded = [records.encode(speak(cell=cell)) for cell in range(3)]

    def use(checker, rejected):
        for data in [*encoded, encoded[2], encoded[0]]:
            assert checker.accept(data, key=KEY, now_wall=clock.wall())
        assert len(checks) == 4  # the third was known, the first forgotten

    with_checker(use, capacity=2)
