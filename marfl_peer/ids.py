"""The names of things. All ids sort, print and travel as they are."""

from __future__ import annotations

import hashlib
from typing import NewType

PeerId = NewType("PeerId", str)
"""40 lowercase hex digits: the first 160 bits of SHA-256 of the peer's Ed25519 public key (also its Kademlia id)."""

RunId = NewType("RunId", str)
"""Names one swarm: letters, digits, `.`, `_` and `-`, at most 64."""

Iteration = NewType("Iteration", int)
"""Counted from 1; 0 stands for the initial state."""

Round = NewType("Round", int)
"""1..G inside an iteration; round g averages along the grid's axis g - 1."""

Cell = NewType("Cell", int)
"""Index of a cell of the grid, row-major over its shape, from 0."""

DhtKey = NewType("DhtKey", bytes)
"""20 bytes."""

PEER_ID_BYTES = 20


def peer_id_of(public_key: bytes) -> PeerId:
    """The peer id of a raw 32-byte Ed25519 public key."""
    return PeerId(hashlib.sha256(public_key).digest()[:PEER_ID_BYTES].hex())


def dht_key(*parts: object) -> DhtKey:
    """A DHT key for a name made of parts; parts are separated, so ("a", "bc") and ("ab", "c") differ."""
    text = "\x1f".join(str(part) for part in parts)
    return DhtKey(hashlib.sha256(text.encode()).digest()[:20])


def short(peer_id: str) -> str:
    """The first 8 digits: enough to tell peers apart on a screen."""
    return peer_id[:8]
