"""Task `20news`: 20 Newsgroups by date, with the head of MAR-FL's experiments (arXiv 2512.05234) on a frozen encoder.

The paper puts that head on DistilBERT; by default it sits on hashed words here, which need no download.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.classification import Classification
from marfl_peer.learning.tasks.corpus import GROUPS, digest_of, find_corpus, read_corpus
from marfl_peer.learning.tasks.encoders import TextEncoder, load_encoder
from marfl_peer.learning.tasks.encodings import kept
from marfl_peer.learning.tasks.folders import data_folder, folder_to_read
from marfl_peer.learning.tasks.hashed_words import HashedWords

DATASET = "20news"
HIDDEN = 72
DROPOUT = 0.2
REMEDY = (
    "run `marfl-peer data fetch 20news`, or name the folder that holds 20news-bydate.tar.gz, or what it unpacks to, "
    "with --data-dir"
)


class NewsHead(nn.Module):
    """dense width-72, ReLU, dropout 0.2, dense 72-20: 56,828 parameters on DistilBERT's 768 values a text, 591,356 on
    8192 hashed words.

    An encoder's `digest` becomes the name of a buffer without elements. So it is part of the model's schema, and peers
    that put the same head on different encoders do not average; and a saved model tells what it belongs to.
    """

    def __init__(self, width: int, digest: str = "") -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.dense2 = nn.Linear(HIDDEN, len(GROUPS))
        if digest:
            self.register_buffer(f"encoder_{digest}", torch.zeros(0, dtype=torch.bool))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [b, 20] of features [b, width]."""
        logits: Tensor = self.dense2(self.dropout(torch.relu(self.dense1(features))))
        return logits


class Newsgroups(Classification):
    """Which of 20 groups a post was sent to; training posts are older than test posts. Headers count, as in the
    paper. `encoder`: hashed words, if none is given."""

    name = DATASET

    def __init__(self, environ: Mapping[str, str] = os.environ, *, encoder: TextEncoder | None = None) -> None:
        self._environ = environ
        self._encoder = HashedWords() if encoder is None else encoder

    def build_model(self) -> nn.Module:
        return NewsHead(self._encoder.width, self._encoder.digest)

    def load(self, data_dir: Path | None) -> TaskData:
        """Reads the texts from `data_dir`, its subfolder `20news`, or this user's cache, where what is worked out of
        them is kept: the first time takes some ten seconds, and with a transformer minutes.

        Raises: ConfigError for what is missing or damaged; MarflError for work that was interrupted.
        """
        corpus = find_corpus(folder_to_read(DATASET, data_dir, self._environ), remedy=REMEDY)
        try:
            name = f"{self._encoder.encoding}-{digest_of(corpus)[:32]}"
        except OSError as error:
            raise ConfigError(str(corpus), None, f"{error}; {REMEDY}") from error
        return TaskData(**kept(data_folder(DATASET, self._environ), name, lambda: _encoded(corpus, self._encoder)))

    def prepare(self, inputs: Tensor) -> Tensor:
        """What the encoder kept of the texts [b, ...] to float [b, width]."""
        return self._encoder.features_of(inputs)


def with_encoder(setting: str, data_dir: Path | None) -> Newsgroups:
    """The task on the encoder that the setting names. Raises: ConfigError."""
    return Newsgroups(encoder=load_encoder(setting, data_dir=data_dir, environ=os.environ))


def _encoded(corpus: Path, encoder: TextEncoder) -> dict[str, Tensor]:
    """All texts at once, so that progress is of the whole."""
    texts = read_corpus(corpus, remedy=REMEDY)
    inputs = encoder.encode_texts([text.content for text in texts])
    labels = torch.tensor([text.label for text in texts], dtype=torch.int64)
    tensors: dict[str, Tensor] = {}
    for part in ("train", "test"):
        chosen = torch.tensor([text.part == part for text in texts])
        tensors[f"{part}_inputs"], tensors[f"{part}_labels"] = inputs[chosen], labels[chosen]
    return tensors
