"""The settings of a run and of a peer: one declaration each, from which flags, environment names, TOML keys,
the run record and the documentation's table are made. Where values come from is the business of `cli/`.
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field; its values are immutable

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from marfl_peer.errors import ConfigError

MAX_GROUP_SIZE = 64
MAX_WEIGHT = 2**31
Exchange = Literal["butterfly", "all-gather"]
Spans = Literal["measured", "equal"]
SameMachine = Literal["unix", "tcp"]
Vector = Literal["theta+momentum", "theta"]
AGGREGATIONS = ("mar", "fedavg", "rdfl", "ar", "ring", "gossip", "random")
ONE_GROUP = ("fedavg", "rdfl", "ar", "ring")
"""Those in which all peers are one group."""
BY_LOT = ("gossip", "random")
"""Those whose groups are drawn anew in every round."""
MkdCodec = Literal["float32", "bfloat16", "float16", "int8", "int4"]
MkdRanking = Literal["outputs", "turns"]


class Kind(Enum):
    """What the value of a setting is; the enum's value is how a person is told to write it."""

    TEXT = "write a text"
    WHOLE = "write a whole number"
    NUMBER = "write a number"
    SWITCH = "write true or false"
    PATH = "write a path"
    TEXTS = "write a list of texts"


def setting(
    default: Any,
    help: str,
    *,
    shared: bool = False,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    unit: str = "",
) -> Any:
    """A dataclass field that carries what documentation, flags and checks need to know."""
    facts = {
        "help": help,
        "shared": shared,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "unit": unit,
    }
    return field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. `shared` settings are equal at all peers of a run: its record has them."""

    # of the run: every peer must share them
    run_id: str = setting("default", "name of the swarm", shared=True)
    task: str = setting("digits", "digits, mnist, 20news or package.module:factory", shared=True)
    encoder: str = setting(
        "hashing", "20news, what makes numbers of texts: hashing, minilm or transformer:NAME_OR_FOLDER", shared=True
    )
    group_size: int = setting(4, "M: peers a group at most", shared=True, minimum=2, maximum=MAX_GROUP_SIZE)
    iterations: int = setting(30, "iterations until the run is over", shared=True, minimum=1)
    seed: int = setting(0, "seed of partition, initial model and batches", shared=True, minimum=0, maximum=2**32 - 1)
    local_steps: int = setting(10, "B: mini-batches a local update", shared=True, minimum=1)
    batch_size: int = setting(32, "samples a mini-batch", shared=True, minimum=1)
    lr: float = setting(0.1, "eta: learning rate", shared=True, minimum=0.0)
    momentum: float = setting(0.9, "mu: momentum", shared=True, minimum=0.0, maximum=0.999999)
    vector: Vector = setting("theta+momentum", "what is averaged", shared=True, choices=("theta+momentum", "theta"))
    exchange: Exchange = setting("butterfly", "how a group averages", shared=True, choices=("butterfly", "all-gather"))
    spans: Spans = setting(
        "measured",
        "butterfly, float32: what a member owns follows the measured speed of its link, or is equal",
        shared=True,
        choices=("measured", "equal"),
    )
    codec: str = setting(
        "float32",
        "how values travel: float32, bfloat16, float16, int8, int4 or topk:FRACTION",
        shared=True,
    )
    strategy: str = setting("mean", "how values are combined", shared=True, choices=("mean",))
    aggregation: str = setting(
        "mar", "aggregation scheme: mar, or a baseline to compare it with", shared=True, choices=AGGREGATIONS
    )
    placement: str = setting("grid", "how peers find their group", shared=True, choices=("grid", "hashed"))
    buckets: int = setting(
        0, "placement hashed: groups a round; 0: peers / group size", shared=True, minimum=0, maximum=2**31 - 1
    )
    rounds: int = setting(
        0,
        "placement hashed, aggregation random or gossip: rounds an iteration; 0: those of a grid, gossip: 1",
        shared=True,
        minimum=0,
        maximum=64,
    )
    partition: str = setting("iid", "iid, dirichlet:ALPHA or shards:K (classes a peer)", shared=True)
    overlap: bool = setting(False, "train for the next iteration while the update of this one is averaged", shared=True)
    mkd_iterations: int = setting(
        0, "K: iterations in which peers distil from their group-mates first; 0: none", shared=True, minimum=0
    )
    mkd_teachers: float = setting(
        0.4, "rho: share of the group-mates that a peer distils from, at least one", shared=True, above=0.0, maximum=1.0
    )
    mkd_temperature: float = setting(
        3.0, "tau: softens the outputs that are distilled", shared=True, minimum=0.01, maximum=1000.0
    )
    mkd_codec: MkdCodec = setting(
        "float32",
        "how the models that are distilled from travel; all but float32 as the difference from the agreed state",
        shared=True,
        choices=("float32", "bfloat16", "float16", "int8", "int4"),
    )
    mkd_ranking: MkdRanking = setting(
        "outputs",
        "who teaches: the mates whose outputs are nearest, of all whose models are fetched; or each mate in its turn, "
        "and only its model is fetched",
        shared=True,
        choices=("outputs", "turns"),
    )
    participation_update: float = setting(
        1.0, "share of the peers that train in an iteration", shared=True, above=0.0, maximum=1.0
    )
    participation_aggregate: float = setting(
        1.0, "share of the peers whose update is averaged in an iteration", shared=True, above=0.0, maximum=1.0
    )
    dp_noise: float = setting(
        0.0,
        "z: noise multiplier of an update against who receives it; 0: no differential privacy",
        shared=True,
        minimum=0.0,
    )
    dp_clip: float = setting(
        0.1, "C: L2 norm that updates are clipped to at first; it follows their median", shared=True, above=0.0
    )
    dp_server_lr: float = setting(0.1, "what theta takes of the server momentum", shared=True, above=0.0)
    dp_server_momentum: float = setting(
        0.9, "what is left of the server momentum in an iteration", shared=True, minimum=0.0, maximum=0.999999
    )
    dp_delta: float = setting(1e-5, "delta of the (epsilon, delta) that is told", shared=True, above=0.0, maximum=0.5)
    shards: int = setting(16, "parts that the training set is cut into", shared=True, minimum=1)
    evaluate: str = setting(
        "share",
        "each peer tests its share of the test set, or all of it",
        shared=True,
        choices=("share", "full"),
    )
    evaluate_every: int = setting(1, "iterations from one evaluation to the next", shared=True, minimum=1)
    target_accuracy: float | None = setting(
        None, "stop when the test accuracy reaches this", shared=True, minimum=0.0, maximum=1.0
    )

    # of this peer
    host: str = setting("auto", "address to listen on and to announce; auto: the one that reaches the others")
    port: int = setting(7700, "TCP and UDP port; 0: any free one", minimum=0, maximum=65535)
    dial_only: bool = setting(
        False, "behind NAT: open all connections from here; others need not, and cannot, reach this peer"
    )
    same_machine: SameMachine = setting(
        "unix",
        "how it talks with peers of its user on its machine: by unix sockets, where they do so, too; or by tcp",
        choices=("unix", "tcp"),
    )
    bootstrap: tuple[str, ...] = setting((), "HOST:PORT of peers to start from")
    lan: bool = setting(False, "find peers of the same run on this LAN by multicast beacon")
    wait_for: int = setting(1, "peers to wait for before iteration 1", minimum=1)
    wait_timeout_s: float = setting(60.0, "longest wait for them", minimum=0.0, unit="s")
    shard: str | None = setting(None, "I/N: own part of the training set, from 0; default: lowest unclaimed")
    task_dir: Path | None = setting(None, "folder of the module of an own task; default: the current one")
    data_dir: Path | None = setting(None, "folder with the task's data")
    device: str = setting("cpu", "torch device of the local update")
    threads: int = setting(1, "CPU threads of the local update", minimum=1, maximum=1024)
    state_dir: Path = setting(Path("marfl-state"), "folder for identity, state and journal")
    save_every: int = setting(1, "iterations from one saved state to the next", minimum=1)
    trace_mixing: bool = setting(
        False, "note in the journal, round by round, how what this peer holds comes together with the others'"
    )
    dp_epsilon_budget: float | None = setting(
        None, "the peer ends its run before its epsilon against who receives its updates exceeds this", above=0.0
    )
    metrics_port: int | None = setting(None, "HTTP port of /metrics, /healthz, /readyz", minimum=0, maximum=65535)
    log_level: str = setting("info", "least important log line to print", choices=("debug", "info", "warning", "error"))
    log_format: str = setting("text", "log lines for people, or one JSON object a line", choices=("text", "json"))

    def __post_init__(self) -> None:
        check(self)

    def shared(self) -> dict[str, object]:
        """The settings of the run, by name."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.metadata["shared"]}

    def adopt(self, values: Mapping[str, object]) -> Settings:
        """These settings with other values in some of them, such as those of the run.

        Raises: ConfigError for an unknown name, or a value that has the wrong type or cannot be.
        """
        for name, value in values.items():
            if name not in KINDS:
                raise ConfigError(name, value, "there is no such setting")
        return dataclasses.replace(self, **values)  # type: ignore[arg-type]  # `check` tests every type


def shared_names() -> tuple[str, ...]:
    """Names of the settings that all peers of a run share."""
    return tuple(item.name for item in dataclasses.fields(Settings) if item.metadata["shared"])


_KIND_OF_TYPE: Mapping[object, Kind] = types.MappingProxyType(
    {
        str: Kind.TEXT,
        int: Kind.WHOLE,
        float: Kind.NUMBER,
        bool: Kind.SWITCH,
        Path: Kind.PATH,
        tuple[str, ...]: Kind.TEXTS,
    }
)


def _kind_of(hint: object) -> Kind:
    if typing.get_origin(hint) is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return Kind.TEXT if typing.get_origin(hint) is Literal else _KIND_OF_TYPE[hint]


KINDS: Mapping[str, Kind] = types.MappingProxyType(
    {name: _kind_of(hint) for name, hint in typing.get_type_hints(Settings).items()}
)
"""The kind of every setting, by name, in the order of their declaration."""


def _is_of_kind(value: object, kind: Kind) -> bool:
    match kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.WHOLE:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case Kind.SWITCH:
            return isinstance(value, bool)
        case Kind.PATH:
            return isinstance(value, Path)
        case Kind.TEXTS:
            return isinstance(value, tuple) and all(isinstance(part, str) for part in value)


def check(settings: Settings) -> None:
    """Raises: ConfigError for the first setting that cannot be, naming it, its value and the remedy."""
    for item in dataclasses.fields(settings):
        value, facts = getattr(settings, item.name), item.metadata
        name = item.name.replace("_", "-")
        if value is None and item.default is None:
            continue
        # Annotations are not enough: the values of a run record come from other peers.
        if not _is_of_kind(value, KINDS[item.name]):
            raise ConfigError(name, str(value), KINDS[item.name].value)
        if facts["choices"] is not None and value not in facts["choices"]:
            raise ConfigError(name, value, f"choose one of {', '.join(facts['choices'])}")
        if facts["minimum"] is not None and not value >= facts["minimum"]:
            raise ConfigError(name, value, f"must be at least {facts['minimum']}")
        if facts["above"] is not None and not value > facts["above"]:
            raise ConfigError(name, value, f"must be above {facts['above']}")
        if facts["maximum"] is not None and not value <= facts["maximum"]:
            raise ConfigError(name, value, f"must be at most {facts['maximum']}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", settings.run_id):
        raise ConfigError("run-id", settings.run_id, "use 1 to 64 letters, digits, '.', '_' or '-'")
    if settings.shard is not None:
        parse_shard(settings.shard)
    parse_partition(settings.partition)
    if set(parse_codec(settings.codec)) != {"float32"} and settings.placement == "hashed":
        remedy = "members of hashed groups hold different states: use --placement grid, or --codec float32"
        raise ConfigError("codec", settings.codec, remedy)
    if settings.aggregation != "mar":
        _check_baseline(settings)
    if settings.rounds and settings.placement == "grid" and settings.aggregation not in BY_LOT:
        remedy = f"aggregation {settings.aggregation} on a grid has a round for each of its axes: leave it out"
        raise ConfigError("rounds", settings.rounds, remedy)
    parse_encoder(settings.encoder)
    if settings.encoder != "hashing" and settings.task != "20news":
        raise ConfigError("encoder", settings.encoder, f"task {settings.task} has no texts: use --task 20news with it")
    _check_distillation(settings)
    for address in settings.bootstrap:
        parse_address(address)
    _check_dial_only(settings)
    _check_privacy(settings)


SMALLEST_NOISE = 1e-3
"""With less there is no privacy to speak of, and squares of it leave the range of numbers."""


def _check_privacy(settings: Settings) -> None:
    """Raises: ConfigError for what cannot go with noised updates."""
    if settings.dp_noise == 0.0:
        if settings.dp_epsilon_budget is not None:
            raise ConfigError("dp-epsilon-budget", settings.dp_epsilon_budget, "needs noise: give --dp-noise, too")
        return
    if not SMALLEST_NOISE <= settings.dp_noise <= 1.0 / SMALLEST_NOISE:
        raise ConfigError("dp-noise", settings.dp_noise, f"use 0, or {SMALLEST_NOISE} to {1.0 / SMALLEST_NOISE:g}")
    clashes = (
        (settings.overlap, "overlap", "its update begins before the state that it is measured from is agreed on"),
        (settings.placement == "hashed", "placement", "its peers agree neither on a state nor on a threshold"),
        (settings.aggregation in BY_LOT, "aggregation", "its peers agree neither on a state nor on a threshold"),
        (settings.mkd_iterations > 0, "mkd_iterations", "mates would learn from models that are not noised"),
        (
            settings.vector == "theta" and settings.dp_server_momentum > 0.0,
            "vector",
            "the server momentum travels in the place of momentum: use theta+momentum, or --dp-server-momentum 0",
        ),
    )
    for clashes_now, name, reason in clashes:
        if clashes_now:
            value = getattr(settings, name)
            remedy = f"does not go with --dp-noise {settings.dp_noise:g}: {reason}"
            raise ConfigError(name.replace("_", "-"), value, remedy)


def _check_dial_only(settings: Settings) -> None:
    """Raises: ConfigError for what a peer that nobody can dial cannot do."""
    if not settings.dial_only:
        return
    if not settings.bootstrap:
        raise ConfigError("dial-only", "true", "nobody can dial this peer: say whom it is to dial with --bootstrap")
    clashes = (
        (settings.host != "auto", "host", "it announces no address: leave it out"),
        (settings.lan, "lan", "who hears its beacon cannot dial it: leave it out"),
        (
            settings.aggregation != "mar",
            "aggregation",
            "two that only dial cannot meet, and others cannot sum for them",
        ),
        (settings.placement != "grid", "placement", "nobody could dial it whom its buckets bring together with it"),
        (settings.exchange != "butterfly", "exchange", "two that only dial cannot meet: others are to sum for them"),
        (settings.spans != "measured", "spans", "of two that only dial neither may own a chunk"),
    )
    for clashes_now, name, reason in clashes:
        if clashes_now:
            raise ConfigError(name, getattr(settings, name), f"does not go with --dial-only: {reason}")


def _check_baseline(settings: Settings) -> None:
    """Raises: ConfigError for settings that the baseline cannot do with."""
    name = settings.aggregation
    if settings.placement != "grid":
        raise ConfigError("placement", settings.placement, f"aggregation {name} says who meets whom: leave it out")
    if name in ONE_GROUP and settings.exchange != "butterfly":
        raise ConfigError("exchange", settings.exchange, f"aggregation {name} says how bytes flow: leave it out")
    if name not in ("fedavg", "ar") and set(parse_codec(settings.codec)) != {"float32"}:
        remedy = f"values travel as they are with aggregation {name}: use --codec float32, or fedavg, ar or mar"
        raise ConfigError("codec", settings.codec, remedy)


def _check_distillation(settings: Settings) -> None:
    if not settings.mkd_iterations:
        return
    for does_not_fit, name in (
        (settings.overlap, "--overlap"),
        (settings.placement != "grid", f"--placement {settings.placement}"),
        (settings.aggregation != "mar", f"--aggregation {settings.aggregation}"),
    ):
        if does_not_fit:
            remedy = f"distillation does not go with {name}: leave one of them out"
            raise ConfigError("mkd-iterations", settings.mkd_iterations, remedy)


def parse_shard(text: str) -> tuple[int, int]:
    """(I, N) of "I/N" with 0 <= I < N. Raises: ConfigError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise ConfigError("shard", text, "write I/N with 0 <= I < N, such as 0/16")
    return int(match[1]), int(match[2])


def parse_partition(text: str) -> tuple[str, float]:
    """("iid", 0), ("dirichlet", alpha) or ("shards", classes a peer). Raises: ConfigError."""
    if text == "iid":
        return "iid", 0.0
    match = re.fullmatch(r"(dirichlet|shards):([0-9]{1,9}(?:\.[0-9]{1,9})?)", text)
    if match is None or float(match[2]) <= 0 or (match[1] == "shards" and "." in match[2]):
        raise ConfigError("partition", text, "write iid, dirichlet:ALPHA (such as dirichlet:1.0) or shards:K")
    return match[1], float(match[2])


def parse_codec(text: str) -> tuple[str, str]:
    """The codecs of theta and of momentum in `NAME` or `theta=NAME,momentum=NAME`; float32 where none is named.

    Raises: ConfigError.
    """
    names = {"theta": text, "momentum": text}
    if "=" in text:
        pairs = [item.strip().partition("=") for item in text.split(",")]
        named = {part: name for part, _, name in pairs}
        if len(named) < len(pairs) or not named.keys() <= names.keys():
            raise ConfigError("codec", text, "write theta=NAME,momentum=NAME, each once at most")
        names = dict.fromkeys(names, "float32") | named
    for name in names.values():
        match = re.fullmatch(r"float32|bfloat16|float16|int8|int4|topk(?::([0-9]{0,4}\.?[0-9]{1,9}))?", name)
        if match is None or (match[1] is not None and not 0 < float(match[1]) <= 1):
            remedy = "write float32, bfloat16, float16, int8, int4, topk:FRACTION, or theta=NAME,momentum=NAME of these"
            raise ConfigError("codec", text, remedy)
    return names["theta"], names["momentum"]


def parse_encoder(text: str) -> tuple[str, str]:
    """("hashing", ""), ("minilm", "") or ("transformer", its name or folder). Raises: ConfigError."""
    match = re.fullmatch(r"(hashing|minilm)|transformer:([^\x00-\x1f\x7f]{1,512})", text)
    if match is None:
        raise ConfigError("encoder", text, "write hashing, minilm or transformer:NAME_OR_FOLDER")
    return (match[1], "") if match[1] else ("transformer", match[2])


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of "HOST:PORT" or "[V6]:PORT". Raises: ConfigError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ConfigError("bootstrap", text, "write HOST:PORT, such as 192.168.1.10:7700")
    return match[1] or match[2], int(match[3])
