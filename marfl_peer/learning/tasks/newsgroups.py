"""Task `20news`: 20 Newsgroups by date as hashed words, with the head of MAR-FL's experiments (arXiv 2512.05234).

The paper puts that head on a frozen DistilBERT; here it sits on hashed words, which need no download.
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
from marfl_peer.learning.tasks.encodings import kept
from marfl_peer.learning.tasks.folders import data_folder, folder_to_read
from marfl_peer.learning.tasks.hashed_words import BUCKETS, VERSION, encode_texts, features_of

DATASET = "20news"
HIDDEN = 72
DROPOUT = 0.2
REMEDY = (
    "run `marfl-peer data fetch 20news`, or name the folder that holds 20news-bydate.tar.gz, or what it unpacks to, "
    "with --data-dir"
)


class NewsHead(nn.Module):
    """dense 8192-72, ReLU, dropout 0.2, dense 72-20: 591,356 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.dense1 = nn.Linear(BUCKETS, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.dense2 = nn.Linear(HIDDEN, len(GROUPS))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [b, 20] of features [b, 8192]."""
        logits: Tensor = self.dense2(self.dropout(torch.relu(self.dense1(features))))
        return logits


class Newsgroups(Classification):
    """Which of 20 groups a post was sent to; training posts are older than test posts. Headers count, as in the
    paper."""

    name = DATASET

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def build_model(self) -> nn.Module:
        return NewsHead()

    def load(self, data_dir: Path | None) -> TaskData:
        """Reads the texts from `data_dir`, its subfolder `20news`, or this user's cache, where what is worked out of
        them is kept: the first time takes some ten seconds.

        Raises: ConfigError for what is missing or damaged.
        """
        corpus = find_corpus(folder_to_read(DATASET, data_dir, self._environ), remedy=REMEDY)
        try:
            name = f"hashed-{BUCKETS}-{VERSION}-{digest_of(corpus)[:32]}"
        except OSError as error:
            raise ConfigError(str(corpus), None, f"{error}; {REMEDY}") from error
        return TaskData(**kept(data_folder(DATASET, self._environ), name, lambda: _encoded(corpus)))

    def prepare(self, inputs: Tensor) -> Tensor:
        """int16 [b, 2, 512] to float [b, 8192], see `features_of`."""
        return features_of(inputs)


def _encoded(corpus: Path) -> dict[str, Tensor]:
    texts = read_corpus(corpus, remedy=REMEDY)
    tensors: dict[str, Tensor] = {}
    for part in ("train", "test"):
        chosen = [text for text in texts if text.part == part]
        tensors[f"{part}_inputs"] = encode_texts([text.content for text in chosen])
        tensors[f"{part}_labels"] = torch.tensor([text.label for text in chosen], dtype=torch.int64)
    return tensors
