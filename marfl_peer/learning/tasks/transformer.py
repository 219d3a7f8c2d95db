"""Runs a frozen transformer over texts. The only module that imports `transformers`: a process of its own runs it
(`python -m marfl_peer.learning.tasks.transformer`), so that neither its memory nor its threads stay in a peer.

MAR-FL (arXiv 2512.05234) does this with DistilBERT: 128 tokens of a text, and the vector of the first one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from marfl_peer.learning.tasks.pretrained import Pooling

BATCH = 32
LINES = 20
"""Of progress, where there is no terminal to draw on."""
NEW_LINE = "\n"
REFUSED = 3
"""Exit code of a model that cannot be used; the reason is on stdout."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: one JSON text on stdin. float16 [n, width] comes back on stdout."""

    folder: str
    width: int
    pooling: Pooling
    compares_angles: bool
    tokens: int
    threads: int
    parent: int
    """The process that wants it: without it the work ends."""
    texts: list[str]


class Unusable(Exception):
    """Why a model gives no embeddings."""


def embed(order: Order, *, show: Callable[[int], None]) -> Tensor:
    """float16 [n, width] of the texts; `show` is told how many are done.

    Texts of like length go together, so that little is computed for padding. Of a model that compares angles every
    embedding is made as long as one of values +-1 would be, so that learning rates mean the same as for others.
    Raises: Unusable.
    """
    try:
        return _embedded(order, show)
    except Unusable:
        raise
    except Exception as error:  # a library of many models raises anything at one that is damaged
        raise Unusable(f"{type(error).__name__}: {str(error).strip().partition(NEW_LINE)[0]}") from error


def _embedded(order: Order, show: Callable[[int], None]) -> Tensor:
    tokenizer = AutoTokenizer.from_pretrained(order.folder, local_files_only=True, padding_side="right")
    model = AutoModel.from_pretrained(order.folder, local_files_only=True, use_safetensors=True)
    model.to(torch.float32).eval()
    embedded = torch.empty(len(order.texts), order.width, dtype=torch.float16)
    by_length = sorted(range(len(order.texts)), key=lambda index: len(order.texts[index]))
    with torch.inference_mode():
        for done in range(0, len(by_length), BATCH):
            rows = by_length[done : done + BATCH]
            texts = [order.texts[row] for row in rows]
            tokens = tokenizer(texts, truncation=True, max_length=order.tokens, padding=True, return_tensors="pt")
            hidden = model(**tokens).last_hidden_state
            if hidden.shape[-1] != order.width:
                raise Unusable(f"gives vectors of {hidden.shape[-1]} values where its config.json says {order.width}")
            pooled = _pooled(hidden, tokens["attention_mask"], order.pooling)
            if order.compares_angles:
                pooled = torch.nn.functional.normalize(pooled, dim=1) * order.width**0.5
            embedded[rows] = pooled.to(torch.float16)
            show(done + len(rows))
    if not embedded.isfinite().all():
        raise Unusable("gives values that are not finite")
    return embedded


def _pooled(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """float32 [b, width] of [b, tokens, width]; the mean counts tokens, not padding."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class Lines:
    """Progress where there is no terminal to draw on: `LINES` lines from nothing to `total`."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console, self._told = total, console, 0

    def __call__(self, done: int) -> None:
        if (lines := done * LINES // self._total) > self._told:
            self._told = lines
            self._console.print(f"embedding texts: {done:,} of {self._total:,}", highlight=False)


def work(order: Order, console: Console, *, is_wanted: Callable[[], bool]) -> Tensor:
    """`embed`, with progress shown, for as long as somebody wants it. Raises: Unusable."""

    lines = Lines(len(order.texts), console)
    columns = (TextColumn("embedding texts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("", total=len(order.texts))

        def show(done: int) -> None:
            if not is_wanted():
                raise SystemExit(REFUSED)
            if console.is_terminal:
                bar.update(row, completed=done)
            else:
                lines(done)

        return embed(order, show=show)


def main(stdin: BinaryIO, stdout: BinaryIO, console: Console) -> int:
    """Exit code 0 with the embeddings on `stdout`, or `REFUSED` with the reason there."""
    order = msgspec.json.decode(stdin.read(), type=Order)
    torch.set_num_threads(order.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        embedded = work(order, console, is_wanted=lambda: os.getppid() == order.parent)
    except Unusable as error:
        stdout.write(str(error).encode())
        return REFUSED
    stdout.write(embedded.numpy().tobytes())
    return 0


if __name__ == "__main__":
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the results
    with results:
        sys.exit(main(sys.stdin.buffer, results, Console(stderr=True)))
