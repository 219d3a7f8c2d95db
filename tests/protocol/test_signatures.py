import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from marfl_peer.protocol import signatures

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()


def test_verify_own_signature():
    assert signatures.verify(PUBLIC, b"c", b"message", signatures.sign(KEY, b"c", b"message"))


@given(message=st.binary(min_size=1, max_size=64), place=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=30)
def test_verify_any_changed_bit(message, place, bit):
    signature = signatures.sign(KEY, b"c", message)
    changed = bytearray(message)
    changed[place % len(message)] ^= 1 << bit
    assert not signatures.verify(PUBLIC, b"c", bytes(changed), signature)
    broken = bytearray(signature)
    broken[place % len(signature)] ^= 1 << bit
    assert not signatures.verify(PUBLIC, b"c", message, bytes(broken))


def test_verify_other_context_or_key():
    signature = signatures.sign(KEY, b"c", b"message")
    assert not signatures.verify(PUBLIC, b"d", b"message", signature)
    assert not signatures.verify(OTHER, b"c", b"message", signature)


def test_verify_context_that_runs_into_message():
    signature = signatures.sign(KEY, b"ab", b"c")
    assert not signatures.verify(PUBLIC, b"a", b"bc", signature)


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_verify_key_that_is_none(public_key):
    assert not signatures.verify(public_key, b"c", b"m", signatures.sign(KEY, b"c", b"m"))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65)])
def test_verify_signature_of_wrong_length(signature):
    assert not signatures.verify(PUBLIC, b"c", b"m", signature)


@pytest.mark.parametrize("context", [b"", bytes(256)])
def test_sign_context_of_wrong_length(context):
    with pytest.raises(ValueError, match="context"):
        signatures.sign(KEY, context, b"m")
