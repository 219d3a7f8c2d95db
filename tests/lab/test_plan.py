from datetime import datetime
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.plan import make_folder, peer_settings, run_settings

AT = datetime(2026, 1, 2, 3, 4, 5)
PORTS = [11000, 11001, 11002, 11003, 11004]


@pytest.mark.parametrize(
    ("index", "bootstrap"),
    [
        (0, ("127.0.0.1:11001", "127.0.0.1:11002")),
        (2, ("127.0.0.1:11000", "127.0.0.1:11001")),
        (4, ("127.0.0.1:11000", "127.0.0.1:11001", "127.0.0.1:11002")),
    ],
)
def test_peer_starts_from_the_first_three_but_itself(index: int, bootstrap: tuple[str, ...]) -> None:
    own = peer_settings(Settings(shards=5), index, ports=PORTS, folder=Path("/f"))
    assert own.bootstrap == bootstrap
    assert (own.host, own.port, own.wait_for) == ("127.0.0.1", PORTS[index], 5)
    assert own.shard == f"{index}/5"
    assert own.state_dir == Path(f"/f/peer-00{index}")


def test_peers_share_all_settings_of_the_run() -> None:
    run = run_settings(Settings(shards=7, lr=0.2, shard="1/2"), 5)
    for index in range(5):
        assert peer_settings(run, index, ports=PORTS, folder=Path("/f")).shared() == run.shared()


def test_lone_peer_has_nobody_to_start_from() -> None:
    assert peer_settings(Settings(shards=1), 0, ports=[11000], folder=Path("/f")).bootstrap == ()


@pytest.mark.parametrize(("given", "own"), [(None, None), (0, 0), (9100, 9103)])
def test_metrics_ports_count_up_from_the_given_one(given: int | None, own: int | None) -> None:
    settings = Settings(shards=5, metrics_port=given)
    assert peer_settings(settings, 3, ports=PORTS, folder=Path("/f")).metrics_port == own


def test_no_peers_or_fewer_shards_than_peers_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        run_settings(Settings(), 0)
    with pytest.raises(ConfigError, match="at least 17"):
        run_settings(Settings(shards=16), 17)


def test_every_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = (make_folder(tmp_path / "new", "r", at=AT) for _ in range(2))
    assert first == tmp_path / "new" / "r-20260102-030405"
    assert second == tmp_path / "new" / "r-20260102-030405-2"
    assert first.is_dir() and second.is_dir()


def test_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state-dir"):
        make_folder(tmp_path / "file", "r", at=AT)


def test_buckets_follow_from_the_number_of_peers_where_placement_is_hashed() -> None:
    assert run_settings(Settings(placement="hashed"), 13).buckets == 4
    assert run_settings(Settings(placement="hashed", buckets=9), 13).buckets == 9
    assert run_settings(Settings(), 13).buckets == 0
