"""Texts as what a frozen, pretrained transformer makes of them: one vector each, computed once by another process.

Knows how that process is asked; what lies in an encoder's folder is `pretrained`'s business, the computation
`transformer`'s.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.learning.tasks.pretrained import find_packaged, find_pretrained, read_pretrained

TOKENS = 128
VERSION = 1
"""Of what `encode_texts` gives for a text: another one is another encoding."""
WORKER = "marfl_peer.learning.tasks.transformer"
REFUSED = 3
NEEDED = "transformers"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
CONSIDERATE = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
"""Threads that wait leave the processor to others."""


class Embeddings:
    """A text encoder: float16 vectors of the transformer that the setting `encoder` names, frozen."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        """Raises: ConfigError for a folder that holds no encoder."""
        self._name, self._environ = name, environ
        self._files = read_pretrained(name, folder, tokens=TOKENS)
        self.width = self._files.width
        self.digest = self._files.digest
        self.encoding = f"embedded-{VERSION}-{self.digest}"

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """float16 [n, width], from all processors of this machine: minutes for thousands of texts.

        Progress is shown on stderr. Raises: ConfigError for an encoder that gives nothing, or without the package
        `transformers`; MarflError if the work was interrupted.
        """
        if not texts:
            return torch.empty(0, self.width, dtype=torch.float16)
        if importlib.util.find_spec(NEEDED) is None:
            remedy = f"needs the package {NEEDED}: pip install 'marfl-peer[{NEEDED}]'"
            raise ConfigError("encoder", self._name, remedy)
        done = subprocess.run(
            (sys.executable, "-m", WORKER),
            input=self._order(texts),
            stdout=subprocess.PIPE,
            env={**self._environ, **OFFLINE, **CONSIDERATE},
            check=False,
        )
        if done.returncode == REFUSED and done.stdout:
            said = done.stdout.decode(errors="replace")
            raise ConfigError("encoder", self._name, f"{self._files.folder} gives no embeddings: {said}")
        if done.returncode != 0 or len(done.stdout) != len(texts) * self.width * 2:
            raise MarflError(f"embedding the texts was interrupted (exit code {done.returncode}); nothing was kept")
        return torch.frombuffer(bytearray(done.stdout), dtype=torch.float16).view(len(texts), self.width)

    def features_of(self, encoded: Tensor) -> Tensor:
        """float32 [b, width] of float16 [b, width]."""
        return encoded.float()

    def _order(self, texts: Sequence[str]) -> bytes:
        return msgspec.json.encode(
            {
                "folder": str(self._files.folder),
                "width": self.width,
                "pooling": self._files.pooling,
                "compares_angles": self._files.compares_angles,
                "tokens": TOKENS,
                "threads": len(os.sched_getaffinity(0)),
                "parent": os.getpid(),
                "texts": list(texts),
            }
        )


def packaged(name: str, environ: Mapping[str, str]) -> Embeddings:
    """The encoder of a package of Python. Raises: ConfigError."""
    return Embeddings(name, find_packaged(name), environ)


def pretrained(name: str, *, data_dir: Path | None, environ: Mapping[str, str]) -> Embeddings:
    """The encoder in a folder, or in the hub's cache. Raises: ConfigError."""
    return Embeddings(f"transformer:{name}", find_pretrained(name, data_dir=data_dir, environ=environ), environ)
