"""Reads IDX files, the format of MNIST: two zero bytes, a type, the number of dimensions, their sizes
(big-endian uint32), the values. Files come from anywhere: sizes are checked before memory is taken for them.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from marfl_peer.errors import ConfigError

UNSIGNED_BYTE: Final = 8
MAX_BYTES: Final = 2**30
"""More than this in one file is taken for damage."""
GZIP_MAX_RATIO: Final = 1100
"""Deflate makes nothing smaller than by 1:1032."""
PIECE_BYTES: Final = 2**20
Plain = gzip.GzipFile | io.BufferedReader
_GZIP_MAGIC = b"\x1f\x8b"


def spellings(stem: str, dimensions: int) -> tuple[str, ...]:
    """The names under which the file `stem` ("train-images") is found, e.g. train-images-idx3-ubyte.gz."""
    names = (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte")
    return (*names, *(f"{name}.gz" for name in names))


def find_idx(folder: Path, stem: str, *, dimensions: int, remedy: str) -> Path:
    """The file `stem` in `folder`, in any spelling. Raises: ConfigError, ending in `remedy`."""
    if not folder.is_dir():
        raise ConfigError("data folder", str(folder), f"does not exist; {remedy}")
    for name in spellings(stem, dimensions):
        if (folder / name).is_file():
            return folder / name
    names = " or ".join(spellings(stem, dimensions))
    raise ConfigError("data folder", str(folder), f"holds no {names}; {remedy}")


def read_idx(path: Path, *, dimensions: int, remedy: str) -> Tensor:
    """The values of an IDX file of unsigned bytes, gzipped or not: uint8 with that many dimensions.

    Raises: ConfigError that names the file, what is wrong with it, and `remedy`.
    """
    try:
        with open_plain(path) as file:
            return _read(file, path, dimensions)
    except (OSError, EOFError, zlib.error, _Damage) as error:
        raise ConfigError(str(path), None, f"{error or type(error).__name__}; {remedy}") from error


def open_plain(path: Path) -> Plain:
    """The uncompressed bytes of a file: whether it is gzipped is told by its content, not by its name."""
    with path.open("rb") as file:
        gzipped = file.read(2) == _GZIP_MAGIC
    return gzip.GzipFile(path, "rb") if gzipped else path.open("rb")


class _Damage(Exception):
    """What is wrong with a file."""


def _read(file: Plain, path: Path, dimensions: int) -> Tensor:
    header = file.read(4)
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header != expected:
        raise _Damage(f"starts with {header.hex()!r}, not with {expected.hex()!r} as an IDX file of this kind does")
    sizes = file.read(4 * dimensions)
    if len(sizes) != 4 * dimensions:
        raise _Damage("ends inside its header")
    shape = struct.unpack(f">{dimensions}I", sizes)
    length = math.prod(shape)
    ratio = GZIP_MAX_RATIO if isinstance(file, gzip.GzipFile) else 1
    if length > min(MAX_BYTES, path.stat().st_size * ratio):
        raise _Damage(f"claims to hold {length} values, more than fit into it")
    values = bytearray(length)
    _fill(file, values)
    if file.read(1):
        raise _Damage(f"goes on after its {length} values")
    if length == 0:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(values, dtype=torch.uint8).view(shape)


def _fill(file: Plain, values: bytearray) -> None:
    # Piece by piece: gzip makes a second copy of whatever is read at once.
    view, filled = memoryview(values), 0
    while filled < len(values):
        count = file.readinto(view[filled : filled + PIECE_BYTES])
        if count == 0:
            raise _Damage(f"is cut off after {filled} of {len(values)} values")
        filled += count
