"""Texts as hashed words: how often each of some thousand buckets is hit (Weinberger et al., arXiv 0902.2206).

Nothing is fitted to a corpus, so peers that share no text make the same of a word. What an encoder keeps of a text is
its fullest buckets, as integers; the model gets 1 + log(count) of each, scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

BUCKETS = 8192
KEPT = 512
"""Buckets of a text: 98 texts in 100 have fewer."""
MAX_COUNT = 2**15 - 1
VERSION = 1
"""Of what `encode_texts` gives for a text: another one is another encoding."""


class HashedWords:
    """A text encoder that needs no file: nothing but this release decides what it gives."""

    width = BUCKETS
    digest = ""
    encoding = f"hashed-{BUCKETS}-{VERSION}"

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """See `encode_texts`."""
        return encode_texts(texts)

    def features_of(self, encoded: Tensor) -> Tensor:
        """See `features_of`."""
        return features_of(encoded)


def encode_texts(texts: Sequence[str]) -> Tensor:
    """int16 [n, 2, KEPT]: the fullest buckets of each text, and how often its words hit them; 0 times where there are
    no more. Of equally full ones the lowest."""
    words = HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None, stop_words="english")
    encoded = np.zeros((len(texts), 2, KEPT), dtype=np.int16)
    if texts:
        counts = words.transform(texts)
        for row, (start, stop) in enumerate(zip(counts.indptr, counts.indptr[1:], strict=False)):
            buckets, hits = counts.indices[start:stop], np.minimum(counts.data[start:stop], MAX_COUNT)
            fullest = np.lexsort((buckets, -hits))[:KEPT]
            encoded[row, 0, : len(fullest)], encoded[row, 1, : len(fullest)] = buckets[fullest], hits[fullest]
    return torch.from_numpy(encoded)


def features_of(encoded: Tensor) -> Tensor:
    """float32 [b, BUCKETS] of int16 [b, 2, KEPT]; of length 1, or 0 where a text has no word."""
    buckets, counts = encoded[:, 0].long(), encoded[:, 1].float()
    values = torch.where(counts > 0, counts.clamp(min=1).log_().add_(1), 0)
    values /= values.norm(dim=1, keepdim=True).clamp_(min=1e-12)
    return torch.zeros(len(encoded), BUCKETS, device=encoded.device).scatter_add_(1, buckets, values)
