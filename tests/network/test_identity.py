import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mortal_disk import deaths

from marfl_peer.errors import ConfigError
from marfl_peer.ids import dht_key, peer_id_of
from marfl_peer.network.identity import INCARNATION_FILE, KEY_FILE, Identity
from marfl_peer.protocol import records, signatures

KEY = dht_key("k")


def test_identity_is_kept_from_start_to_start(tmp_path):
    with Identity.load_or_create(tmp_path / "new" / "state") as first:
        assert first.peer_id == peer_id_of(first.public_key)
    with Identity.load_or_create(tmp_path / "new" / "state") as second:
        assert second.public_key == first.public_key


def test_identity_key_file_is_private_and_standard(tmp_path):
    with Identity.load_or_create(tmp_path) as identity:
        path = tmp_path / KEY_FILE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert key.public_key().public_bytes_raw() == identity.public_key


def test_incarnation_grows_at_every_start_and_is_on_disk(tmp_path):
    for life in (1, 2, 3):
        with Identity.load_or_create(tmp_path) as identity:
            assert identity.raise_incarnation() == life == identity.incarnation
            assert int((tmp_path / INCARNATION_FILE).read_text()) == life


def test_incarnation_survives_a_death_in_the_middle_of_writing(tmp_path):
    with Identity.load_or_create(tmp_path) as identity:
        identity.raise_incarnation()
    (tmp_path / (INCARNATION_FILE + ".new")).write_text("gar")
    with Identity.load_or_create(tmp_path) as identity:
        assert identity.raise_incarnation() == 2


def test_incarnation_is_not_raised_when_it_cannot_be_written(tmp_path):
    with Identity.load_or_create(tmp_path) as identity:
        identity.raise_incarnation()
        (tmp_path / (INCARNATION_FILE + ".new")).mkdir()  # in the way of the draft
        with pytest.raises(ConfigError, match="cannot be written"):
            identity.raise_incarnation()
        assert identity.incarnation == 1


def test_identity_directory_in_use(tmp_path):
    with Identity.load_or_create(tmp_path), pytest.raises(ConfigError, match="another peer is using it"):
        Identity.load_or_create(tmp_path)
    Identity.load_or_create(tmp_path).close()


def test_identity_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Identity.load_or_create(tmp_path / "file" / "state")


def test_identity_directory_without_permission(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        Identity.load_or_create(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_identity_damaged_key(tmp_path, content):
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged: restore it, or delete"):
        Identity.load_or_create(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    Identity.load_or_create(tmp_path).close()  # the failed attempt has given up the lock


@pytest.mark.parametrize("encryption", [serialization.NoEncryption(), serialization.BestAvailableEncryption(b"x")])
def test_identity_key_of_another_kind(tmp_path, encryption):
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    (tmp_path / KEY_FILE).write_bytes(pem)
    with pytest.raises(ConfigError, match="is damaged"):
        Identity.load_or_create(tmp_path)


@pytest.mark.parametrize("content", ["", "x", "-1", "1.5", str(2**53), "١"])
def test_identity_damaged_incarnation(tmp_path, content):
    (tmp_path / INCARNATION_FILE).write_text(content)
    with pytest.raises(ConfigError, match="is damaged"):
        Identity.load_or_create(tmp_path)


@pytest.mark.parametrize("name", [KEY_FILE, INCARNATION_FILE])
def test_identity_file_that_cannot_be_read(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        Identity.load_or_create(tmp_path)


def test_ephemeral_identity_touches_no_disk():
    one, other = Identity.ephemeral(), Identity.ephemeral()
    assert one.peer_id != other.peer_id
    assert one.raise_incarnation() == 1
    one.close()


def test_identity_signs():
    identity = Identity.ephemeral()
    assert signatures.verify(identity.public_key, b"c", b"m", identity.sign(b"c", b"m"))


def test_identity_records_outrank_earlier_ones():
    identity = Identity.ephemeral()
    identity.raise_incarnation()
    first = identity.sign_record(key=KEY, body=b"\x90", expires_at=100, view_digest=b"v")
    second = identity.renew_record(first, 200)
    assert (second.body, second.view_digest, second.expires_at) == (b"\x90", b"v", 200)
    assert second.order > first.order
    identity.raise_incarnation()
    assert identity.renew_record(first, 100).order > second.order
    records.verify(second, key=KEY, now_wall=150)


@pytest.mark.parametrize("half", [False, True])
def test_death_at_any_call_leaves_an_identity_whose_incarnation_never_falls(tmp_path, half):
    """Also in the first life of all, where there is neither key nor incarnation yet."""
    for life in (1, 2):
        for mortal in deaths(tmp_path / f"{half}-{life}", half=half):
            mortal.folder.mkdir(parents=True)
            used = 0
            if life == 2:
                with Identity.load_or_create(mortal.folder) as before:
                    used = before.raise_incarnation()
            mortal.settle()
            with mortal, Identity.load_or_create(mortal.folder) as identity:
                used = identity.raise_incarnation()
            for after in mortal.aftermaths():
                with Identity.load_or_create(after) as next_life:
                    assert next_life.raise_incarnation() > used, f"after {mortal.calls}"
                    if life == 2:
                        assert next_life.peer_id == before.peer_id
