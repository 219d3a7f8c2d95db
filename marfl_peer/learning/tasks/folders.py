"""Where downloaded data sets lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def data_folder(dataset: str, environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/marfl-peer/DATASET`, or below `~/.cache` where that is unset or not absolute."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = Path(environ.get("HOME", "") or Path.home()) / ".cache"
    return cache / "marfl-peer" / dataset
