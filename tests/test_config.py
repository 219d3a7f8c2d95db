from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.config import (
    BY_LOT,
    KINDS,
    ONE_GROUP,
    Kind,
    Settings,
    check,
    parse_address,
    parse_codec,
    parse_encoder,
    parse_partition,
    parse_shard,
    shared_names,
)
from marfl_peer.errors import ConfigError


def test_defaults_are_valid_and_every_setting_is_explained() -> None:
    Settings()
    for item in dataclasses.fields(Settings):
        assert item.metadata["help"], item.name


def test_kinds_cover_the_settings_in_order() -> None:
    assert list(KINDS) == [item.name for item in dataclasses.fields(Settings)]
    assert KINDS["vector"] is Kind.TEXT
    assert KINDS["target_accuracy"] is Kind.NUMBER
    assert KINDS["data_dir"] is Kind.PATH
    assert KINDS["bootstrap"] is Kind.TEXTS
    assert KINDS["lan"] is Kind.SWITCH


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("group_size", 1, "must be at least 2"),
        ("group_size", 65, "must be at most 64"),
        ("group_size", "4", "write a whole number"),
        ("group_size", True, "write a whole number"),
        ("group_size", None, "write a whole number"),
        ("lr", -0.1, "must be at least 0.0"),
        ("lr", float("nan"), "write a number"),
        ("lr", float("inf"), "write a number"),
        ("lr", True, "write a number"),
        ("momentum", 1.0, "must be at most 0.999999"),
        ("participation_update", 0.0, "must be above 0.0"),
        ("participation_aggregate", 1.1, "must be at most 1.0"),
        ("exchange", "ring", "choose one of butterfly, all-gather"),
        ("exchange", ["butterfly"], "write a text"),
        ("lan", 1, "write true or false"),
        ("state_dir", "here", "write a path"),
        ("bootstrap", "a:1", "write a list of texts"),
        ("bootstrap", ("a",), "write HOST:PORT"),
        ("target_accuracy", 1.5, "must be at most 1.0"),
        ("mkd_iterations", -1, "must be at least 0"),
        ("mkd_teachers", 0.0, "must be above 0.0"),
        ("mkd_teachers", 1.1, "must be at most 1.0"),
        ("mkd_temperature", 0.0, "must be at least 0.01"),
        ("mkd_codec", "topk", "choose one of float32, bfloat16"),
        ("mkd_ranking", "best", "choose one of outputs, turns"),
        ("run_id", "", "use 1 to 64 letters"),
        ("run_id", "a b", "use 1 to 64 letters"),
        ("run_id", "x" * 65, "use 1 to 64 letters"),
        ("shard", "4/4", "write I/N"),
        ("partition", "even", "write iid"),
        ("port", 65536, "must be at most 65535"),
        ("aggregation", "mars", "choose one of mar, fedavg, rdfl, ar, ring, gossip, random"),
        ("nonsense", 1, "no such setting"),
    ],
)
def test_setting_that_cannot_be_is_named_with_its_remedy(name: str, value: object, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        Settings().adopt({name: value})
    assert caught.value.what.replace("-", "_") == name


@pytest.mark.parametrize(
    ("name", "value", "remedy"), [("overlap", True, "--overlap"), ("placement", "hashed", "--placement hashed")]
)
def test_distillation_is_refused_with_what_it_does_not_go_with(name: str, value: object, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"mkd-iterations.*{remedy}"):
        Settings().adopt({"mkd_iterations": 3, name: value})
    assert Settings().adopt({"mkd_iterations": 0, name: value}).mkd_iterations == 0


def test_optional_settings_take_none() -> None:
    settings = Settings(shard=None, data_dir=None, metrics_port=None, target_accuracy=None)
    assert settings == Settings()


def test_shared_settings_travel_from_one_peer_to_another() -> None:
    founder = Settings(task="mnist", lr=0.2, group_size=5, port=1, state_dir=Path("a"))
    joiner = Settings(port=2, state_dir=Path("b")).adopt(founder.shared())
    assert joiner.shared() == founder.shared()
    assert (joiner.port, joiner.state_dir) == (2, Path("b"))
    assert tuple(founder.shared()) == shared_names()
    assert {"task", "seed"} < set(shared_names())
    assert not {"port", "host", "state_dir", "threads"} & set(shared_names())


@given(st.integers(0, 999), st.integers(0, 999))
def test_shard_is_read_where_its_index_is_below_its_count(index: int, count: int) -> None:
    text = f"{index}/{count}"
    if index < count:
        assert parse_shard(text) == (index, count)
    else:
        with pytest.raises(ConfigError, match="shard"):
            parse_shard(text)


@pytest.mark.parametrize("text", ["", "1", "/2", "1/", "-1/2", "1/2/3", "1.0/2", "٠/٢", "0/" + "9" * 5000])
def test_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float32", ("float32", "float32")),
        ("topk:0.5", ("topk:0.5", "topk:0.5")),
        ("theta=int8,momentum=int4", ("int8", "int4")),
        ("momentum=int4, theta=bfloat16", ("bfloat16", "int4")),
        ("theta=int8", ("int8", "float32")),
    ],
)
def test_codec_is_read(text: str, expected: tuple[str, str]) -> None:
    assert parse_codec(text) == expected
    assert Settings(codec=text).shared()["codec"] == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "INT8", "int3", "topk:", "topk:0", "topk:1.5", "topk:-1", "topk:nan", "theta=", "=int8", "int8,int4"),
        *("theta=int8,theta=int8", "buffers=int8", "theta=int8,momentum=int9", "topk:" + "9" * 400),
    ],
)
def test_codec_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"codec.*write") as caught:
        parse_codec(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hashing", ("hashing", "")),
        ("minilm", ("minilm", "")),
        ("transformer:distilbert-base-uncased", ("transformer", "distilbert-base-uncased")),
        ("transformer:~/my models/small", ("transformer", "~/my models/small")),
    ],
)
def test_encoder_is_read(text: str, expected: tuple[str, str]) -> None:
    assert parse_encoder(text) == expected
    assert Settings(task="20news", encoder=text).shared()["encoder"] == text


@pytest.mark.parametrize("text", ["", "bert", "transformer", "transformer:", "hashing:x", "transformer:a\nb", "MINILM"])
def test_encoder_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"encoder.*write hashing, minilm or transformer:NAME_OR_FOLDER"):
        Settings(task="20news", encoder=text)


def test_encoder_is_for_a_task_of_texts() -> None:
    with pytest.raises(ConfigError, match="encoder: 'minilm': task digits has no texts: use --task 20news"):
        Settings(encoder="minilm")
    assert Settings(encoder="hashing").encoder == "hashing"


@pytest.mark.parametrize(
    ("clash", "says"),
    [
        ({"overlap": True}, r"overlap: True: does not go with --dp-noise 1"),
        ({"placement": "hashed"}, r"placement: 'hashed': does not go with --dp-noise 1"),
        ({"mkd_iterations": 3}, r"mkd-iterations: 3: does not go with --dp-noise 1"),
        ({"aggregation": "gossip"}, r"aggregation: 'gossip': does not go with --dp-noise 1"),
        ({"vector": "theta"}, r"vector: 'theta': .*use theta\+momentum, or --dp-server-momentum 0"),
        ({"dp_noise": 1e-6}, r"dp-noise: 1e-06: use 0, or 0.001 to 1000"),
        ({"dp_noise": 1e6}, r"dp-noise: 1000000.0: use 0, or"),
        ({"dp_noise": -1.0}, r"dp-noise: -1.0: must be at least 0"),
        ({"dp_noise": 0.0, "dp_epsilon_budget": 1.0}, r"dp-epsilon-budget: 1.0: needs noise"),
        ({"dp_epsilon_budget": 0.0}, r"dp-epsilon-budget: 0.0: must be above 0"),
        ({"dp_delta": 0.0}, r"dp-delta: 0.0: must be above 0"),
        ({"dp_clip": 0.0}, r"dp-clip: 0.0: must be above 0"),
    ],
)
def test_private_updates_go_only_with_what_they_can(clash: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings(dp_noise=1.0).adopt(clash)


def test_private_updates_without_server_momentum_need_no_place_for_it() -> None:
    assert Settings(dp_noise=1.0, vector="theta", dp_server_momentum=0.0).vector == "theta"


def test_codec_needs_members_that_hold_the_same_state() -> None:
    with pytest.raises(ConfigError, match=r"codec.*'int8'.*use --placement grid, or --codec float32"):
        check(Settings(codec="int8", placement="hashed"))
    check(Settings(codec="float32", placement="hashed"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iid", ("iid", 0.0)),
        ("dirichlet:1.0", ("dirichlet", 1.0)),
        ("dirichlet:1", ("dirichlet", 1.0)),
        ("dirichlet:0.05", ("dirichlet", 0.05)),
        ("shards:2", ("shards", 2.0)),
    ],
)
def test_partition_is_read(text: str, expected: tuple[str, float]) -> None:
    assert parse_partition(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "IID", "iid:1", "dirichlet", "dirichlet:0", "dirichlet:-1", "dirichlet:x"),
        *("shards:1.5", "shards:0", "dirichlet:" + "9" * 400),
    ],
)
def test_partition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="partition"):
        parse_partition(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:7700", ("10.0.0.1", 7700)),
        ("peer-3.local:1", ("peer-3.local", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_address_is_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "::1:7700", "a b:1", "host:1x"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("aggregation", [*ONE_GROUP, *BY_LOT])
def test_baseline_says_who_meets_whom_and_how_bytes_flow(aggregation: str) -> None:
    def refused(what: str, **values: object) -> None:
        with pytest.raises(ConfigError) as caught:
            Settings().adopt({"aggregation": aggregation, **values})
        assert caught.value.what == what

    refused("placement", placement="hashed", buckets=4)
    if aggregation in ONE_GROUP:
        refused("exchange", exchange="all-gather")
        refused("rounds", rounds=2)
    else:
        Settings().adopt({"aggregation": aggregation, "exchange": "all-gather", "rounds": 2})
    if aggregation in ("fedavg", "ar"):
        Settings().adopt({"aggregation": aggregation, "codec": "int8"})
    else:
        refused("codec", codec="momentum=int8")


def test_rounds_of_mar_are_those_of_its_grid_but_where_placement_is_hashed() -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        Settings(rounds=3)
    assert Settings(placement="hashed", buckets=2, rounds=3).rounds == 3


BEHIND_NAT: dict[str, object] = {"dial_only": True, "bootstrap": ("203.0.113.2:7700",)}


@pytest.mark.parametrize(
    ("clash", "says"),
    [
        ({"bootstrap": ()}, "dial-only: 'true': nobody can dial this peer: say whom it is to dial with --bootstrap"),
        ({"host": "192.168.1.5"}, "host: '192.168.1.5': does not go with --dial-only"),
        ({"lan": True}, "lan: True: does not go with --dial-only"),
        ({"aggregation": "gossip"}, "aggregation: 'gossip': does not go with --dial-only"),
        ({"placement": "hashed"}, "placement: 'hashed': does not go with --dial-only"),
        ({"exchange": "all-gather"}, "exchange: 'all-gather': does not go with --dial-only"),
        ({"spans": "equal"}, "spans: 'equal': does not go with --dial-only"),
    ],
)
def test_peer_that_only_dials_needs_a_run_in_which_others_sum_for_it(clash: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        Settings().adopt({**BEHIND_NAT, **clash})
    assert Settings().adopt(BEHIND_NAT).dial_only
