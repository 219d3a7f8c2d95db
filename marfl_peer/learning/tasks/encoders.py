"""What makes numbers of texts, by the setting `encoder`. Nothing is trained here: whatever encodes stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from marfl_peer.config import parse_encoder
from marfl_peer.learning.tasks.embeddings import packaged, pretrained
from marfl_peer.learning.tasks.hashed_words import HashedWords


class TextEncoder(Protocol):
    """Gives every text some numbers, the same ones at every peer."""

    width: int
    """features of a text that the model gets"""
    digest: str
    """of what peers must have in common for that, besides this release; empty where that is nothing"""
    encoding: str
    """A name for what `encode_texts` gives: another one where that would differ."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[n, ...], of any type: what is kept of the texts. Raises: MarflError."""
        ...

    def features_of(self, encoded: Tensor) -> Tensor:
        """float32 [b, width] of a batch of these."""
        ...


def load_encoder(setting: str, *, data_dir: Path | None, environ: Mapping[str, str]) -> TextEncoder:
    """Raises: ConfigError for an encoder that is not on this machine, or of no kind that can be used."""
    kind, name = parse_encoder(setting)
    match kind:
        case "hashing":
            return HashedWords()
        case "transformer":
            return pretrained(name, data_dir=data_dir, environ=environ)
        case _:
            return packaged(kind, environ)
