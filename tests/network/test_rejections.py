import asyncio

from marfl_peer.facts import DatagramRejected
from marfl_peer.network import rejections
from marfl_peer.network.rejections import Rejections


def test_rejections_flood_is_told_in_few_facts():
    facts = []

    async def flood():
        counted = Rejections(facts.append)
        for _ in range(1000):
            counted.count("a")
        counted.count("b")
        counted.close()
        assert counted.total == {"a": 1000, "b": 1}

    asyncio.run(flood())
    assert facts[0] == DatagramRejected(code="a", count=1)
    assert facts[1:] == [DatagramRejected(code="a", count=999), DatagramRejected(code="b", count=1)]


def test_rejections_are_told_after_the_quiet_time(monkeypatch):
    monkeypatch.setattr(rejections, "QUIET_S", 0.001)
    told = []

    async def wait_for_second_fact():
        second = asyncio.Event()

        def hear(fact):
            told.append(fact)
            if len(told) == 2:
                second.set()

        counted = Rejections(hear)
        for _ in range(3):
            counted.count("a")
        async with asyncio.timeout(5):
            await second.wait()
        counted.close()

    asyncio.run(wait_for_second_fact())
    assert [fact.count for fact in told] == [1, 2]


def test_rejections_without_a_sink():
    async def count():
        counted = Rejections(None)
        counted.count("a")
        counted.close()
        return counted.total["a"]

    assert asyncio.run(count()) == 1
