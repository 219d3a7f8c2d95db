"""Keeps on the disk what took long to work out of a data set: tensors by a name that says of what.

Several processes that want the same wait for the first of them. A folder that cannot be written keeps nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from marfl_peer.disk import write_whole


def kept(folder: Path, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """`make()`, or what it gave when it was called last for this `name`. A damaged file is made anew."""
    path = folder / f"{name}.safetensors"
    with _locked(folder / f".{name}.lock"):
        if (there := _read(path)) is not None:
            return there
        made = make()
        with contextlib.suppress(OSError):
            write_whole(path, save(made))
        return made


def _read(path: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Whoever comes second waits, where that is possible."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.open("wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
