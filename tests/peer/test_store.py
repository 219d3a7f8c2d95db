"""The state on disk: complete at every instant, what comes back is what was saved, and what is damaged is found."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import safetensors.torch
import torch
from mortal_disk import MortalDisk, deaths

from marfl_peer.errors import ConfigError
from marfl_peer.peer.store import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    Manifest,
    export_model,
    load_manifest,
    load_state,
    load_tensors,
    save_state,
    tensor_bytes,
    write_file,
)

MODEL = {"a.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}
MOMENTUM = {"a.weight": torch.ones(2, 3)}


def manifest(iteration: int = 12, **fields: object) -> Manifest:
    given = {
        "peer_id": "a" * 40,
        "incarnation": 3,
        "run_id": "run",
        "task": "digits",
        "settings": "5e",
        "schema": "5c",
        "iteration": iteration,
        "digest": "d1",
        "group": ("a" * 40, "b" * 40),
        "shard": 2,
        "epoch": 1,
        "offset": 40,
        "members": (("b" * 40, "127.0.0.1", 7700),),
        **fields,
    }
    return Manifest(**given)


def content(value: float = 1.0) -> bytes:
    return tensor_bytes({"w": torch.full((3000,), value)}, {})


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_saved_state_is_loaded_as_it_was(tmp_path: Path) -> None:
    size = save_state(tmp_path / "new", manifest(), tensor_bytes(MODEL, MOMENTUM))
    tensors, loaded = load_state(tmp_path / "new")
    assert size == sum(len(content) for content in files_of(tmp_path / "new").values())
    assert msgspec.structs.replace(loaded, file="", bytes=0, sha256="", checksum="") == manifest()
    assert set(tensors) == {"model/a.weight", "model/steps", "momentum/a.weight"}
    assert torch.equal(tensors["model/a.weight"], MODEL["a.weight"])
    assert torch.equal(tensors["model/steps"], MODEL["steps"])


def test_saving_again_leaves_one_state_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state-00000000-leftover.safetensors.new").touch()
    (tmp_path / "other").touch()
    for iteration in (1, 2):
        save_state(tmp_path, manifest(iteration), content(iteration))
    assert load_state(tmp_path)[1].iteration == 2
    names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert names == ["other", "state", MANIFEST_FILE]


def test_manifest_is_plain_json_and_may_say_more(tmp_path: Path) -> None:
    save_state(tmp_path, manifest(parts={"codec": {"file": "residuals-12", "bytes": 5}}), content())
    plain = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert plain["iteration"] == 12
    loaded = load_manifest(tmp_path)
    assert loaded is not None
    assert loaded.parts == {"codec": {"file": "residuals-12", "bytes": 5}}


def test_tensors_that_share_memory_are_each_saved(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    save_state(tmp_path, manifest(), tensor_bytes({"one": tied, "other": tied}, {}))
    tensors, _ = load_state(tmp_path)
    assert torch.equal(tensors["model/one"], tensors["model/other"])


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("new_iteration", [7, 6])
def test_death_at_any_call_leaves_one_complete_state(tmp_path: Path, half: bool, new_iteration: int) -> None:
    """6: the state of the same iteration is saved again, with other content."""
    save_state(tmp_path / "before", manifest(6), content(6.0))
    old, seen = files_of(tmp_path / "before"), []
    for mortal in deaths(tmp_path, half=half):
        mortal.begin(old)
        with mortal:
            save_state(mortal.folder, manifest(new_iteration, offset=41), content(7.0))
        for after in mortal.aftermaths():
            tensors, loaded = load_state(after)
            is_new = loaded.offset == 41
            assert loaded.iteration == (new_iteration if is_new else 6)
            assert bool((tensors["model/w"] == (7.0 if is_new else 6.0)).all()), f"after {mortal.calls}"
            seen.append(is_new)
            save_state(after, manifest(8), content(8.0))
            assert load_state(after)[1].iteration == 8
            assert len(list(after.iterdir())) == 2, "what was left over is gone"
    assert {True, False} == set(seen)
    assert mortal.calls == [
        *("unlink", "open", "write", "fsync", "replace", "open", "fsync"),
        *("unlink", "open", "write", "fsync", "replace", "open", "fsync"),
        "unlink",
    ]


def test_finished_save_survives_a_power_cut(tmp_path: Path) -> None:
    save_state(tmp_path / "before", manifest(6), content(6.0))
    mortal = MortalDisk(tmp_path / "disk", dies_at=99)
    mortal.begin(files_of(tmp_path / "before"))
    with mortal:
        save_state(mortal.folder, manifest(7), content(7.0))
    assert {load_state(after)[1].iteration for after in mortal.aftermaths()} == {7}


def test_no_saved_state_is_none_or_an_error_for_who_needs_one(tmp_path: Path) -> None:
    assert load_manifest(tmp_path) is None
    with pytest.raises(ConfigError, match="no saved state"):
        load_state(tmp_path)


def test_every_flipped_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    save_state(tmp_path, manifest(), content())
    path = tmp_path / MANIFEST_FILE
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ (1 << index % 8)]) + whole[index + 1 :])
        with pytest.raises(ConfigError):
            load_manifest(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_truncated_manifest_is_found(tmp_path: Path, length: int) -> None:
    save_state(tmp_path, manifest(), content())
    path = tmp_path / MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConfigError, match="damaged"):
        load_state(tmp_path)


def test_manifest_that_cannot_be_one_is_not_read(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ConfigError, match="larger"):
        load_manifest(tmp_path)
    (tmp_path / MANIFEST_FILE).unlink()
    (tmp_path / MANIFEST_FILE).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_manifest(tmp_path)


def test_manifest_of_another_format_says_so(tmp_path: Path) -> None:
    save_state(tmp_path, manifest(format=2), content())
    with pytest.raises(ConfigError, match="format 2"):
        load_manifest(tmp_path)


def test_damaged_tensors_are_found(tmp_path: Path) -> None:
    save_state(tmp_path, manifest(), content())
    (path,) = tmp_path.glob("state-*")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[:20], whole[:-5], b"x" * len(whole), bytes(flipped), whole + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            load_state(tmp_path)
    path.unlink()
    with pytest.raises(ConfigError, match="damaged"):
        load_state(tmp_path)


def test_swapped_files_are_found(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("other", 2.0)):
        save_state(tmp_path / name, manifest(), content(value))
    (one,), (other,) = (list((tmp_path / name).glob("state-*")) for name in ("one", "other"))
    one.write_bytes(other.read_bytes())
    with pytest.raises(ConfigError, match="SHA-256"):
        load_state(tmp_path / "one")


def test_file_that_is_none_of_tensors_is_found_though_its_digest_fits(tmp_path: Path) -> None:
    save_state(tmp_path, manifest(), b"no tensors")
    with pytest.raises(ConfigError, match="damaged"):
        load_state(tmp_path)


def test_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    save_state(tmp_path / "secret", manifest(), content())
    (secret,) = (tmp_path / "secret").glob("state-*")
    loaded = load_manifest(tmp_path / "secret")
    assert loaded is not None
    with pytest.raises(ConfigError, match="damaged"):
        load_tensors(tmp_path, msgspec.structs.replace(loaded, file=f"secret/{secret.name}"))


def test_export_writes_what_load_state_dict_takes(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    save_state(tmp_path, manifest(), tensor_bytes(layer.state_dict(), {"weight": torch.ones(2, 3)}))
    out = tmp_path / "deep" / "model.safetensors"
    told = export_model(tmp_path, out)
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(safetensors.torch.load_file(out))
    assert torch.equal(other.weight, layer.weight)
    assert told == {
        "iteration": 12,
        "task": "digits",
        "parameters": 8,
        "bytes": out.stat().st_size,
        "file": str(out),
    }


def test_write_where_no_file_can_be_is_a_config_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_write_below_a_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(tmp_path / "file" / "below", b"content")
    with pytest.raises(ConfigError, match="cannot be written"):
        save_state(tmp_path / "file" / "below", manifest(), content())
