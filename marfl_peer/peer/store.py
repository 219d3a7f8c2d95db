"""What a peer keeps on disk of a run: one file of tensors, and a manifest that says which it is and what it must be.

At every instant there is one complete state: the tensors are written under a name of their own, then the manifest is
replaced, and only then the tensors before are deleted. Names in the file: `model/NAME` for everything of the model's
state_dict, `momentum/NAME` for the optimizer, `server/NAME` and `clip/log_clip` for what private updates add up to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from marfl_peer import disk
from marfl_peer.errors import ConfigError

MANIFEST_FILE = "state.json"
FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
_TENSORS = "state-*.safetensors"
_CATCHES_UP = "the peer takes the state from others"

Part = Mapping[str, str | int | float | bool | None]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A saved state in words. Other readers may add `parts`: named facts about what they keep beside the tensors."""

    format: int = FORMAT
    peer_id: str
    incarnation: int
    run_id: str
    task: str
    settings: str
    """Digest of the settings that decide what a state means."""
    schema: str
    iteration: int
    """The last one completed."""
    digest: str
    """Of the agreed vector: `states.digest_of`."""
    group: tuple[str, ...]
    """Who agreed on it with this peer, in the last round."""
    reached: float | None = None
    """The test accuracy, once it ended the run."""
    shard: int | None
    epoch: int
    offset: int
    """Place in the data: the next sample of the shard. Random numbers of a local update follow from it."""
    members: tuple[tuple[str, str, int], ...] = ()
    """(peer id, host, port) of the swarm."""
    parts: Mapping[str, Part] = {}
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    checksum: str = ""
    """See `disk.sealed`."""


def tensor_bytes(
    model: Mapping[str, Tensor], momentum: Mapping[str, Tensor], others: Mapping[str, Tensor] = MappingProxyType({})
) -> bytes:
    """The content of a file of tensors: a copy of them all. `others` by their names in the file."""
    tensors = {f"model/{name}": tensor.detach().cpu().contiguous() for name, tensor in model.items()}
    tensors |= {f"momentum/{name}": tensor.detach().cpu().contiguous() for name, tensor in momentum.items()}
    tensors |= {name: tensor.contiguous() for name, tensor in others.items()}
    return safetensors.torch.save(_unshared(tensors))


def save_state(state_dir: Path, manifest: Manifest, tensors: bytes) -> int:
    """Makes this the saved state; returns the bytes written. Raises: ConfigError where the folder cannot be written."""
    sha256 = hashlib.sha256(tensors).hexdigest()
    # The name follows from the content: what the manifest on disk names is never overwritten with something else.
    path = state_dir / f"state-{manifest.iteration:08d}-{sha256[:12]}.safetensors"
    whole = msgspec.structs.replace(manifest, file=path.name, bytes=len(tensors), sha256=sha256)
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        written = disk.write_whole(path, tensors)
        written += disk.write_whole(state_dir / MANIFEST_FILE, disk.sealed(whole))
        for old in sorted([*state_dir.glob(_TENSORS), *state_dir.glob(str(disk.draft_of(Path(_TENSORS))))]):
            if old != path:
                disk.remove(old)
    except OSError as error:
        raise _unwritable(error.filename or state_dir, error) from None
    return written


def load_manifest(state_dir: Path) -> Manifest | None:
    """The manifest in this folder; None where there is none. Raises: ConfigError for one that is damaged."""
    path = state_dir / MANIFEST_FILE
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise _damaged(path, "larger than any manifest")
        content = path.read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    if manifest.format != FORMAT:
        raise ConfigError("state", str(path), f"has format {manifest.format}, not {FORMAT}: use the release it is of")
    if content != disk.sealed(manifest):
        raise _damaged(path, "it is not what its checksum says")
    return manifest


def load_tensors(state_dir: Path, manifest: Manifest) -> dict[str, Tensor]:
    """The tensors that the manifest names, checked by size and SHA-256. Raises: ConfigError."""
    path = state_dir / manifest.file
    try:
        if path.parent != state_dir or path.stat().st_size != manifest.bytes:
            raise _damaged(path, f"{path.stat().st_size} bytes, not {manifest.bytes}")
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or "cannot be read") from None
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise _damaged(path, "it is not what its SHA-256 says")
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)) from None


def load_state(state_dir: Path) -> tuple[dict[str, Tensor], Manifest]:
    """The saved tensors and their manifest. Raises: ConfigError where there are none, or they are damaged."""
    manifest = load_manifest(state_dir)
    if manifest is None:
        path = str(state_dir / MANIFEST_FILE)
        raise ConfigError("state", path, "there is no saved state: name the --state-dir of a peer that ran")
    return load_tensors(state_dir, manifest), manifest


def export_model(state_dir: Path, out: Path) -> dict[str, int | str]:
    """Writes the model alone, by the names that `load_state_dict` takes. Raises: ConfigError."""
    tensors, manifest = load_state(state_dir)
    model = {name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")}
    facts = {"iteration": str(manifest.iteration), "run_id": manifest.run_id, "task": manifest.task}
    content = safetensors.torch.save(model, metadata={**facts, "schema": manifest.schema})
    return {
        "iteration": manifest.iteration,
        "task": manifest.task,
        "parameters": sum(tensor.numel() for tensor in model.values()),
        "bytes": write_file(out, content),
        "file": str(out),
    }


def write_file(path: Path, content: bytes) -> int:
    """Replaces a file, whose folder is made, such that it is old or new, never half. Raises: ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return disk.write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _damaged(path: Path, what: str) -> ConfigError:
    return ConfigError("state", str(path), f"the file is damaged ({what}): delete {MANIFEST_FILE}, and {_CATCHES_UP}")


def _unwritable(path: str | Path, error: OSError) -> ConfigError:
    text = f"cannot be written ({error.strerror}): choose another folder or make room"
    return ConfigError("file", str(path), text)


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that share memory with another: safetensors stores none twice."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        pointer = tensor.data_ptr()
        result[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return result
