"""What a peer keeps on disk of its model: one safetensors file, replaced whole or not at all.

Names in the file: `model/NAME` for everything of the model's state_dict, `momentum/NAME` for the optimizer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from marfl_peer.errors import ConfigError

STATE_FILE = "state.safetensors"


def save_state(
    state_dir: Path, *, model: Mapping[str, Tensor], momentum: Mapping[str, Tensor], facts: Mapping[str, str]
) -> int:
    """Writes the file and returns its size. Raises: ConfigError where the folder cannot be written."""
    tensors = {f"model/{name}": tensor.detach().cpu().contiguous() for name, tensor in model.items()}
    tensors |= {f"momentum/{name}": tensor.detach().cpu().contiguous() for name, tensor in momentum.items()}
    return write_whole(state_dir / STATE_FILE, safetensors.torch.save(_unshared(tensors), metadata=dict(facts)))


def load_state(state_dir: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of the saved file and its facts (`iteration`, `run_id`, `task`, `schema`). Raises: ConfigError."""
    path = state_dir / STATE_FILE
    if not path.is_file():
        raise ConfigError("state", str(path), "there is no saved state: name the --state-dir of a peer that ran")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        text = f"the file is damaged ({error}): delete it, and the peer takes the state from others"
        raise ConfigError("state", str(path), text) from None


def export_model(state_dir: Path, out: Path) -> dict[str, int | str]:
    """Writes the model alone, by the names that `load_state_dict` takes. Raises: ConfigError."""
    tensors, facts = load_state(state_dir)
    model = {name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")}
    size = write_whole(out, safetensors.torch.save(model, metadata=facts))
    return {
        "iteration": int(facts.get("iteration", 0)),
        "task": facts.get("task", ""),
        "parameters": sum(tensor.numel() for tensor in model.values()),
        "bytes": size,
        "file": str(out),
    }


def write_whole(path: Path, content: bytes) -> int:
    """Replaces a file such that it holds the old content or the new, whatever happens. Raises: ConfigError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # where its folder is none, there is nothing to remove
            temporary.unlink()
        text = f"cannot be written ({error.strerror}): choose another folder or make room"
        raise ConfigError("file", str(path), text) from None
    return len(content)


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that share memory with another: safetensors stores none twice."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        pointer = tensor.data_ptr()
        result[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return result
