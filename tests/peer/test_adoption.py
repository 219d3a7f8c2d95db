"""A joiner takes the run's settings, unless it stated others."""

from __future__ import annotations

import socket

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.ids import DhtKey, dht_key
from marfl_peer.network.identity import Identity
from marfl_peer.peer.adoption import adopt, adopt_run, read_run, run_key
from marfl_peer.protocol import records
from marfl_peer.protocol.records import GroupBody, RunBody, encode_body

SOURCE = "127.0.0.1:7700"


def body_of(**changes: object) -> RunBody:
    settings = Settings().shared() | changes
    return RunBody(settings=settings, schema_digest="ab" * 20, founder="a" * 40)


def record_of(body: object, key: bytes) -> bytes:
    record = Identity.ephemeral().sign_record(key=DhtKey(key), body=encode_body(body), expires_at=2_000_000_000)
    return records.encode(record)


def test_settings_of_the_run_are_taken() -> None:
    adopted = adopt(Settings(port=1234), (), body_of(group_size=8, seed=3), source=SOURCE)
    assert (adopted.group_size, adopted.seed, adopted.port) == (8, 3, 1234)


def test_stated_setting_that_agrees_is_fine() -> None:
    assert adopt(Settings(seed=3), {"seed"}, body_of(seed=3), source=SOURCE).seed == 3


def test_stated_setting_that_contradicts_names_both_values_and_the_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        adopt(Settings(group_size=4), {"group_size"}, body_of(group_size=8), source=SOURCE)
    assert (caught.value.what, caught.value.value) == ("group-size", 4)
    assert "8" in caught.value.remedy
    assert SOURCE in caught.value.remedy


def test_setting_that_this_release_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not know"):
        adopt(Settings(), (), body_of(brand_new=1), source=SOURCE)


def test_value_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ConfigError):
        adopt(Settings(), (), body_of(group_size=1), source=SOURCE)


def test_run_record_is_read_back() -> None:
    body = body_of(run_id="mine")
    assert read_run(record_of(body, run_key("mine"))) == body


def test_run_record_under_another_runs_key_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        read_run(record_of(body_of(run_id="mine"), run_key("another")))


def test_record_of_another_kind_is_refused() -> None:
    other = GroupBody(host="127.0.0.1", port=7700, cell=0, iteration=1)
    with pytest.raises(RemoteProtocolError, match="not a run record"):
        read_run(record_of(other, dht_key("run", "None")))


def test_record_with_a_changed_byte_is_refused() -> None:
    encoded = bytearray(record_of(body_of(), run_key("default")))
    encoded[len(encoded) // 2] ^= 1
    with pytest.raises(RemoteProtocolError):
        read_run(bytes(encoded))


def test_settings_stay_where_no_bootstrap_peer_answers(on_loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = Settings(bootstrap=(f"127.0.0.1:{port}",), seed=9)
    assert on_loop(adopt_run(settings, ())) == settings
