from marfl_peer.network.dht.published import Published
from marfl_peer.network.identity import Identity


def test_published_is_renewed_when_half_of_its_life_is_over(speak, clock):
    published, now = Published(), clock.wall()
    record = speak(lifetime_s=100)
    published.note(record, "group", now_wall=now)
    assert published.take_renewals(now + 49) == []
    (statement,) = published.take_renewals(now + 50)
    assert (statement.record, statement.purpose, statement.lifetime_s) == (record, "group", 100)
    assert published.take_renewals(now + 50) == []
    assert published.next_due_at() is None


def test_published_is_repeated_ever_more_rarely(speak, clock):
    published, now = Published(), clock.wall()
    published.note(speak(lifetime_s=3000), "group", now_wall=now)
    repeats = []
    while published.next_due_at() < now + 1500:
        due_at = published.next_due_at()
        assert len(published.take_repeats(due_at)) == 1
        assert published.take_repeats(due_at) == []
        repeats.append(due_at - now)
    assert repeats == [1, 5, 21, 85, 341, 1365]


def test_published_remembers_who_holds_it(speak, clock):
    published, now = Published(), clock.wall()
    identity = Identity.ephemeral()
    first, second = speak(identity), speak(identity)
    published.note(first, "group", now_wall=now)
    published.note_holders(first, [b"a"])
    published.note_holders(first, [b"b"])
    published.note_holders(second, [b"c"])  # not published yet
    (statement,) = published.take_repeats(now + 1)
    assert statement.holders == {b"a", b"b"}
    published.note(second, "group", now_wall=now)
    published.note_holders(first, [b"d"])  # replaced by now
    (statement,) = published.take_repeats(now + 1)
    assert (statement.record, statement.holders) == (second, frozenset())


def test_published_later_word_replaces(speak, clock):
    published, now = Published(), clock.wall()
    first = speak(lifetime_s=100)
    published.note(first, "group", now_wall=now)
    published.note(first, "member", now_wall=now + 20)
    assert len(published) == 1
    assert published.take_renewals(now + 59) == []
    assert published.take_renewals(now + 60)[0].purpose == "member"


def test_published_tombstone_is_repeated_but_never_renewed(speak, clock):
    identity, published, now = Identity.ephemeral(), Published(), clock.wall()
    published.note(speak(identity), "group", now_wall=now)
    gone = speak(identity, body=b"", lifetime_s=100)
    published.note(gone, "withdraw", now_wall=now)
    assert [statement.record for statement in published.take_repeats(now + 1)] == [gone]
    assert published.take_renewals(now + 99) == []
    assert len(published) == 1
    assert published.take_renewals(now + 100) == []
    assert len(published) == 0


def test_published_forgets_what_need_not_live_on(speak, clock):
    published, now = Published(), clock.wall()
    identity = Identity.ephemeral()
    record, other = speak(identity), speak(Identity.ephemeral())
    published.note(record, "group", now_wall=now)
    published.note(other, "group", now_wall=now)
    published.forget(record.key, record.peer_id)
    published.forget(record.key, record.peer_id)
    assert [statement.record for statement in published.take_repeats(now + 1)] == [other]
