"""The records that a peer signs about itself hold what its settings and its place say."""

from __future__ import annotations

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.ids import RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer.adoption import read_run
from marfl_peer.peer.roster import read_member
from marfl_peer.peer.statements import LIFETIME_S, Statements
from marfl_peer.protocol import records


class Standing(Clock):
    def wall(self) -> float:
        return 1_000_000.5


def statements_of(settings: Settings) -> Statements:
    return Statements(
        identity=Identity.ephemeral(),
        settings=settings,
        schema_digest="ab" * 20,
        clock=Standing(),
        address=lambda: ("127.0.0.1", 7700),
    )


def test_member_record_says_where_it_is_and_which_shard_it_owns() -> None:
    statements = statements_of(Settings(run_id="mine", shards=8))
    assert read_member(RunId("mine"), records.encode(statements.member()))[1].shard is None
    statements.shard = 5
    record, body = read_member(RunId("mine"), records.encode(statements.member()))
    assert (body.host, body.port, body.shard, body.shards) == ("127.0.0.1", 7700, 5, 8)
    assert record.expires_at == 1_000_000 + LIFETIME_S


def test_shard_that_was_set_is_claimed() -> None:
    body = read_member(RunId("default"), records.encode(statements_of(Settings(shard="3/4")).member()))[1]
    assert (body.shard, body.shards) == (3, 4)


def test_later_record_outranks_the_earlier() -> None:
    statements = statements_of(Settings())
    first, second = statements.member(), statements.member()
    assert second.order > first.order


def test_run_record_has_all_shared_settings() -> None:
    settings = Settings(run_id="mine", group_size=7)
    body = read_run(records.encode(statements_of(settings).run()))
    assert body.settings == settings.shared()
    assert body.schema_digest == "ab" * 20
