from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.idx import MAX_BYTES, find_idx, read_idx, spellings

REMEDY = "fetch it again"


def idx(*shape: int, values: bytes | None = None, magic: bytes | None = None) -> bytes:
    start = bytes([0, 0, 8, len(shape)]) if magic is None else magic
    count = 1
    for size in shape:
        count *= size
    body = bytes(number % 251 for number in range(count)) if values is None else values
    return start + struct.pack(f">{len(shape)}I", *shape) + body


def written(folder: Path, content: bytes, *, gzipped: bool = False, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content) if gzipped else content)
    return path


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (2, 1000, 1000)])
def test_read_idx_gives_shape_and_values(tmp_path: Path, shape: tuple[int, ...], gzipped: bool) -> None:
    path = written(tmp_path, idx(*shape), gzipped=gzipped)
    values = read_idx(path, dimensions=3, remedy=REMEDY)
    assert values.dtype == torch.uint8
    assert values.shape == shape
    assert torch.equal(values.flatten(), (torch.arange(values.numel()) % 251).to(torch.uint8))


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with ''"),
        (b"<html>", "starts with '3c68746d'"),
        (idx(3, 4), "starts with '00000802'"),
        (idx(2, 2, 2, magic=b"\x00\x00\x0d\x03"), "starts with '00000d03'"),
        (idx(2, 2, 2)[:9], "ends inside its header"),
        (idx(2, 2, 2) + b"x", "goes on after its 8 values"),
        (idx(2**31, 2**31, 2**31, values=b"abc"), "more than fit into it"),
        (idx(MAX_BYTES + 1, 1, 1, values=b"abc"), "more than fit into it"),
    ],
)
def test_read_idx_of_a_damaged_file_says_what_is_wrong(
    tmp_path: Path, content: bytes, message: str, gzipped: bool
) -> None:
    path = written(tmp_path, content, gzipped=gzipped)
    with pytest.raises(ConfigError, match=message) as caught:
        read_idx(path, dimensions=3, remedy=REMEDY)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(REMEDY)


def test_read_idx_of_a_file_cut_off_says_so(tmp_path: Path) -> None:
    plain = written(tmp_path, idx(9, 9, 9)[:-1], name="plain")
    with pytest.raises(ConfigError, match="claims to hold 729 values, more than fit"):
        read_idx(written(tmp_path, idx(9, 9, 9)[:500]), dimensions=3, remedy=REMEDY)
    with pytest.raises(ConfigError, match="is cut off after 728 of 729"):
        read_idx(plain, dimensions=3, remedy=REMEDY)
    inside = written(tmp_path, idx(9, 9, 9)[:-1], gzipped=True, name="inside")
    with pytest.raises(ConfigError, match="is cut off after 728 of 729"):
        read_idx(inside, dimensions=3, remedy=REMEDY)


@pytest.mark.parametrize("keep", [1, 5, 20, -9, -1])
def test_read_idx_of_damaged_gzip_says_so(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(idx(9, 9, 9))[:keep])
    with pytest.raises(ConfigError, match=REMEDY):
        read_idx(path, dimensions=3, remedy=REMEDY)


def test_read_idx_of_gzip_with_a_wrong_checksum_raises(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx(9, 9, 9)))
    content[-6] ^= 1
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="CRC"):
        read_idx(path, dimensions=3, remedy=REMEDY)


def test_read_idx_of_a_file_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, idx(1000, 1000, 1000, values=b"abc"), gzipped=True)
    tracemalloc.start()
    with pytest.raises(ConfigError, match="more than fit into it"):
        read_idx(path, dimensions=3, remedy=REMEDY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@given(content=st.binary(max_size=60))
def test_read_idx_of_random_bytes_raises_config_error_only(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.getbasetemp(), bytes([0, 0, 8, 1]) + content)
    try:
        values = read_idx(path, dimensions=1, remedy=REMEDY)
    except ConfigError:
        return
    assert len(values) == len(content) - 4


@pytest.mark.parametrize("name", spellings("train-images", 3))
def test_find_idx_takes_any_spelling(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert find_idx(tmp_path, "train-images", dimensions=3, remedy=REMEDY) == tmp_path / name


def test_find_idx_without_the_file_names_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte or .*; fetch it again"):
        find_idx(tmp_path, "train-images", dimensions=3, remedy=REMEDY)
    with pytest.raises(ConfigError, match="does not exist; fetch it again"):
        find_idx(tmp_path / "nowhere", "train-images", dimensions=3, remedy=REMEDY)


def test_read_idx_of_a_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=REMEDY):
        read_idx(tmp_path, dimensions=1, remedy=REMEDY)
