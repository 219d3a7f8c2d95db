from __future__ import annotations

import pytest

from marfl_peer.cli.exit_codes import MEANINGS
from marfl_peer.errors import (
    ConfigError,
    DhtError,
    LocalProtocolError,
    MarflError,
    PeerLost,
    RemoteProtocolError,
)

ERRORS: list[MarflError] = [
    ConfigError("port", 7, "choose another"),
    LocalProtocolError("a bug"),
    RemoteProtocolError("bad_frame", "too long"),
    DhtError("nobody answered"),
    PeerLost("ab" * 20, "three heartbeats missed"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_has_a_code_for_labels_and_a_documented_exit_code(error: MarflError) -> None:
    assert isinstance(error, MarflError)
    assert error.code.isidentifier()
    assert error.exit_code in set(MEANINGS) - {0}


def test_config_error_names_value_and_remedy() -> None:
    error = ConfigError("group-size", 1, "must be at least 2")
    assert str(error) == "group-size: 1: must be at least 2"
    assert (error.what, error.value, error.remedy) == ("group-size", 1, "must be at least 2")


def test_config_error_without_value_leaves_it_out() -> None:
    assert str(ConfigError("marfl.toml", None, "cannot be read")) == "marfl.toml: cannot be read"


def test_remote_protocol_error_carries_its_own_code() -> None:
    assert RemoteProtocolError("bad_frame", "x").code == "bad_frame"
    assert RemoteProtocolError("bad_hello", "x").code == "bad_hello"


def test_peer_lost_shortens_the_id_in_its_message_only() -> None:
    error = PeerLost("ab" * 20, "silent")
    assert str(error) == "peer abababababab is lost: silent"
    assert error.peer_id == "ab" * 20
