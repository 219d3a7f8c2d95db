"""The flat float32 vector that peers average, and the schema that says what lies where in it.

Order: trainable parameters (theta), their momentum, float buffers. Integer and bool buffers are kept apart,
since of them the maximum counts; frozen parameters and buffers that are not saved with a model are not sent.
A private vector has the swarm's momentum in place of the peer's, and the threshold of updates; no model holds these.
Knows models and optimizers of torch, nothing of who exchanges the vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from marfl_peer.errors import ConfigError, LocalProtocolError, RemoteProtocolError

Part = Literal["theta", "momentum", "buffer", "server", "clip"]
MOMENTUM_KEY = "momentum_buffer"
"""Where torch.optim.SGD, and marfl_peer's own optimizer, keep the momentum of a parameter."""
AGREED_ALONE: frozenset[Part] = frozenset({"server", "clip"})
"""Parts that only the agreed vector has, under differential privacy: the server momentum S of DP-FedAvg, which all
peers keep alike, and the logarithm of the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of the model in the vector: elements `offset` to `offset + size`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    size: int
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerBuffer:
    """A buffer of integers or bools, of which the largest value at any peer counts."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSchema:
    """What a model's vector holds. Two models with equal digests can be averaged."""

    entries: tuple[Entry, ...]
    maxima: tuple[IntegerBuffer, ...]
    length: int
    """float32 elements in all"""
    theta_length: int
    """of them theta, which comes first"""
    digest: str
    """40 hex digits over names, shapes, types and parts"""

    @classmethod
    def of(cls, model: nn.Module, *, momentum: bool, private: bool = False) -> VectorSchema:
        """The schema of `model`, with or without momentum: where it is `private`, that of the swarm, not of the peer.
        A parameter with several names counts once.

        Raises: ConfigError for a model without trainable parameters or with complex ones; for a private vector, for one
        with buffers.
        """
        theta = [(name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad]
        if not theta:
            raise ConfigError("model", type(model).__name__, "has no parameter to train")
        buffers = list(_saved_buffers(model))
        for name, tensor in (*theta, *buffers):
            if tensor.is_complex():
                raise ConfigError("model", name, f"is {tensor.dtype}: complex values cannot be averaged")
        if private and buffers:
            remedy = "its values would leave the peer without noise: use a model without buffers, such as GroupNorm for"
            raise ConfigError("dp-noise", buffers[0][0], f"is a buffer of the model; {remedy} BatchNorm")
        floats = [(name, tensor) for name, tensor in buffers if tensor.is_floating_point()]
        parts: list[tuple[Part, list[tuple[str, Tensor]]]] = [("theta", list(theta))]
        parts.append(("server" if private else "momentum", list(theta) if momentum else []))
        parts.append(("buffer", floats))
        parts.append(("clip", [("log_clip", torch.zeros(1))] if private else []))
        entries: list[Entry] = []
        offset = 0
        for part, tensors in parts:
            for name, tensor in tensors:
                entries.append(_entry(name, tensor, offset, part))
                offset += tensor.numel()
        maxima = tuple(
            IntegerBuffer(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype), size=tensor.numel())
            for name, tensor in buffers
            if not tensor.is_floating_point()
        )
        return cls(
            entries=tuple(entries),
            maxima=maxima,
            length=offset,
            theta_length=sum(tensor.numel() for _, tensor in theta),
            digest=_digest(entries, maxima),
        )

    def without_momentum(self) -> VectorSchema:
        """The schema of what a model computes with: theta and float buffers. Theta lies where it lay before."""
        kept: list[Entry] = []
        offset = 0
        for entry in self.entries:
            if entry.part != "momentum":
                kept.append(replace(entry, offset=offset))
                offset += entry.size
        return VectorSchema(
            entries=tuple(kept),
            maxima=(),
            length=offset,
            theta_length=self.theta_length,
            digest=_digest(kept, ()),
        )

    @property
    def has_momentum(self) -> bool:
        """Whether momentum is part of the vector."""
        return any(entry.part == "momentum" for entry in self.entries)

    @property
    def is_private(self) -> bool:
        """Whether what is exchanged is noised, with the threshold of updates in it."""
        return any(entry.part == "clip" for entry in self.entries)

    @property
    def server_length(self) -> int:
        """float32 elements of server momentum, which follows theta: as many as theta has, or none."""
        return sum(entry.size for entry in self.entries if entry.part == "server")

    @property
    def clip_at(self) -> int:
        """Where in a private vector the logarithm of the threshold is."""
        assert self.is_private
        return self.length - 1


@torch.no_grad()
def pack(schema: VectorSchema, model: nn.Module, optimizer: Optimizer | None, out: Tensor) -> None:
    """Writes the state of `model` and, if the schema has momentum, of `optimizer` into `out`, float32
    [length].

    Momentum that the optimizer does not hold yet counts as zeros, and so does what no model holds.
    Raises: ConfigError for a model of another schema or an optimizer without momentum.
    """
    _check_vector(schema, out)
    tensors = _Tensors(schema, model, optimizer)
    for entry in schema.entries:
        span = out[entry.offset : entry.offset + entry.size].view(entry.shape)
        if entry.part in AGREED_ALONE:
            span.zero_()
        elif entry.part == "momentum":
            buffer = tensors.momentum_of(entry)
            _ = span.zero_() if buffer is None else span.copy_(buffer)
        else:
            span.copy_(tensors.of(entry))


@torch.no_grad()
def unpack_(schema: VectorSchema, vector: Tensor, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Writes `vector`, float32 [length], into `model` and `optimizer`, in place: what `pack` wrote.

    Momentum buffers that are missing are made.
    Raises: ConfigError for a model of another schema or an optimizer without momentum.
    """
    _check_vector(schema, vector)
    tensors = _Tensors(schema, model, optimizer)
    for entry in schema.entries:
        span = vector[entry.offset : entry.offset + entry.size].view(entry.shape)
        if entry.part == "momentum":
            tensors.set_momentum_(entry, span)
        elif entry.part not in AGREED_ALONE:
            tensors.of(entry).copy_(span)


def agreed_alone(schema: VectorSchema, vector: Tensor) -> dict[str, Tensor]:
    """What `vector`, float32 [length], has that no model holds, as PART/NAME: views of it."""
    return {
        f"{entry.part}/{entry.name}": vector[entry.offset : entry.offset + entry.size].view(entry.shape)
        for entry in schema.entries
        if entry.part in AGREED_ALONE
    }


def integer_buffers(schema: VectorSchema, model: nn.Module) -> tuple[int, ...]:
    """All values of the integer and bool buffers, one after the other."""
    buffers = dict(model.named_buffers())
    return tuple(int(value) for item in schema.maxima for value in _found(item, buffers).flatten().tolist())


@torch.no_grad()
def set_integer_buffers_(schema: VectorSchema, model: nn.Module, values: tuple[int, ...]) -> None:
    """Writes what `integer_buffers` gave, or the maxima of several such.

    Raises: RemoteProtocolError if the values, which may come from elsewhere, are not as many as there are
    places or do not fit into them; nothing is changed then.
    """
    if len(values) != sum(item.size for item in schema.maxima):
        raise RemoteProtocolError("integer_buffers", f"{len(values)} values for the integer buffers of this model")
    buffers = dict(model.named_buffers())
    fresh: list[tuple[Tensor, Tensor]] = []
    start = 0
    for item in schema.maxima:
        target = _found(item, buffers)
        own = values[start : start + item.size]
        start += item.size
        lowest, highest = (0, 1) if target.dtype == torch.bool else _range(target.dtype)
        if any(not lowest <= value <= highest for value in own):
            raise RemoteProtocolError("integer_buffers", f"a value for {item.name} does not fit into {item.dtype}")
        fresh.append((target, torch.tensor(own, dtype=target.dtype).view(item.shape)))
    for target, new in fresh:
        target.copy_(new)


class _Tensors:
    """Finds the tensor of an entry in a model and its optimizer."""

    def __init__(self, schema: VectorSchema, model: nn.Module, optimizer: Optimizer | None) -> None:
        self._named: dict[str, Tensor] = {**dict(model.named_buffers()), **dict(model.named_parameters())}
        self._optimizer = optimizer
        if schema.has_momentum:
            self._optimized = _optimized_with_momentum(optimizer)

    def of(self, entry: Entry) -> Tensor:
        return _found(entry, self._named)

    def momentum_of(self, entry: Entry) -> Tensor | None:
        parameter = self.of(entry)
        assert self._optimizer is not None
        # get: asking `state[...]` would make an entry for a parameter that the optimizer does not have.
        buffer: Tensor | None = self._optimizer.state.get(parameter, {}).get(MOMENTUM_KEY)
        return buffer

    def set_momentum_(self, entry: Entry, values: Tensor) -> None:
        parameter = self.of(entry)
        if parameter not in self._optimized:
            return
        buffer = self.momentum_of(entry)
        if buffer is None:
            assert self._optimizer is not None
            buffer = self._optimizer.state[parameter][MOMENTUM_KEY] = torch.empty_like(parameter, requires_grad=False)
        buffer.copy_(values)


def _optimized_with_momentum(optimizer: Optimizer | None) -> set[Tensor]:
    """The optimizer's parameters. Raises: ConfigError if it has no place for their momentum."""
    if optimizer is None:
        raise ConfigError("vector", "theta+momentum", "needs an optimizer: hand it over, or use --vector theta")
    parameters: set[Tensor] = set()
    for group in optimizer.param_groups:
        # SGD makes its buffers in the first step, other optimizers are known by the buffers they have made.
        lazy = isinstance(optimizer, SGD) and group["momentum"] != 0
        if not lazy and any(MOMENTUM_KEY not in optimizer.state.get(p, {}) for p in group["params"]):
            kind = type(optimizer).__name__
            remedy = f"{kind} keeps no momentum that could be averaged: use --vector theta, or SGD with momentum"
            raise ConfigError("vector", "theta+momentum", remedy)
        parameters.update(group["params"])
    return parameters


def _saved_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    saved = model.state_dict(keep_vars=True).keys()
    return ((name, tensor) for name, tensor in model.named_buffers() if name in saved)


def _entry(name: str, tensor: Tensor, offset: int, part: Part) -> Entry:
    return Entry(
        name=name,
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype),
        offset=offset,
        size=tensor.numel(),
        part=part,
    )


def _digest(entries: list[Entry], maxima: tuple[IntegerBuffer, ...]) -> str:
    rows: list[tuple[object, ...]] = [(entry.part, entry.name, entry.shape, entry.dtype) for entry in entries]
    rows += [("maximum", item.name, item.shape, item.dtype) for item in maxima]
    return hashlib.sha256("\n".join(repr(row) for row in rows).encode()).hexdigest()[:40]


def _found(item: Entry | IntegerBuffer, named: dict[str, Tensor]) -> Tensor:
    tensor = named.get(item.name)
    if tensor is None or tensor.shape != item.shape:
        found = "is not in this model" if tensor is None else f"has shape {tuple(tensor.shape)} in this model"
        raise ConfigError("model", item.name, f"{found}, not {item.shape}: the run averages another model")
    return tensor


def _check_vector(schema: VectorSchema, vector: Tensor) -> None:
    if vector.dtype != torch.float32 or vector.shape != (schema.length,) or vector.device.type != "cpu":
        given = f"{vector.dtype} {tuple(vector.shape)} on {vector.device}"
        raise LocalProtocolError(f"a vector must be float32 [{schema.length}] on the CPU, not {given}")


def _range(dtype: torch.dtype) -> tuple[int, int]:
    info = torch.iinfo(dtype)
    return info.min, info.max
