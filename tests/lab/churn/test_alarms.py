from marfl_peer.lab.churn.alarms import Alarm, Alarms


def test_alarms_ring_in_the_order_of_their_times_then_of_their_setting() -> None:
    alarms = Alarms(3)
    alarms.set(2.0, 0, Alarm.STRIKE)
    alarms.set(1.0, 1, Alarm.RESTART)
    alarms.set(1.0, 2, Alarm.RESUME)
    assert alarms.next() == 1.0
    assert alarms.pop_due(0.9) is None
    assert [alarms.pop_due(5.0) for _ in range(4)] == [
        (1, Alarm.RESTART),
        (2, Alarm.RESUME),
        (0, Alarm.STRIKE),
        None,
    ]
    assert alarms.next() is None


def test_what_is_forgotten_of_a_peer_does_not_ring() -> None:
    alarms = Alarms(2)
    alarms.set(1.0, 0, Alarm.RESUME)
    alarms.set(1.0, 1, Alarm.RESTART)
    alarms.forget(0)
    alarms.set(3.0, 0, Alarm.STRIKE)
    assert alarms.has(Alarm.RESTART) and alarms.has(Alarm.STRIKE) and not alarms.has(Alarm.RESUME)
    assert [alarms.pop_due(9.0) for _ in range(3)] == [(1, Alarm.RESTART), (0, Alarm.STRIKE), None]


def test_cleared_alarms_are_none() -> None:
    alarms = Alarms(1)
    alarms.set(1.0, 0, Alarm.GO)
    alarms.clear()
    assert alarms.next() is None and alarms.pop_due(2.0) is None
