"""Ed25519 signatures with a context: a signature made for one purpose is never valid for another.

Pure functions of their arguments; who owns which key, and where it lies on disk, is not known here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
PublicKey = Annotated[bytes, msgspec.Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
"""As they travel."""
MAX_CONTEXT_BYTES = 255
REMEMBERED = 4096
"""Checks whose outcome is kept: the same record comes by gossip, from the DHT, and again when it is renewed."""


def sign(private: Ed25519PrivateKey, context: bytes, message: bytes) -> bytes:
    """The 64-byte signature of `message` for the purpose that `context` (1 to 255 bytes) names."""
    return private.sign(_bound(context, message))


@lru_cache(maxsize=REMEMBERED)
def verify(public_key: bytes, context: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of the raw 32-byte public key signed this very message for this very context."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _bound(context, message))
    except (InvalidSignature, ValueError):  # ValueError: 32 bytes that are no point of the curve
        return False
    return True


def _bound(context: bytes, message: bytes) -> bytes:
    """Context and message in one unambiguous string: the length says where the context ends."""
    if not 0 < len(context) <= MAX_CONTEXT_BYTES:
        raise ValueError(f"a context has 1 to {MAX_CONTEXT_BYTES} bytes, not {len(context)}")
    return b"marfl-peer" + bytes([len(context)]) + context + message
