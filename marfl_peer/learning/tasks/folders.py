"""Where data sets lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def data_folder(dataset: str, environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/marfl-peer/DATASET`, or below `~/.cache` where that is unset or not absolute."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = Path(environ.get("HOME", "") or Path.home()) / ".cache"
    return cache / "marfl-peer" / dataset


def folder_to_read(dataset: str, data_dir: Path | None, environ: Mapping[str, str]) -> Path:
    """`data_dir`, or its subfolder DATASET if there is one; where downloads go, if none is named."""
    folder = data_folder(dataset, environ) if data_dir is None else data_dir
    return folder / dataset if (folder / dataset).is_dir() else folder
