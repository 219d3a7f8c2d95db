"""The schemes of aggregation by name: MAR and all that it is compared with. Who starts peers hands them theirs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from marfl_peer.config import ONE_GROUP, Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.baselines.by_lot import ByLot
from marfl_peer.lab.baselines.everybody import EverybodyFlow
from marfl_peer.lab.baselines.forwarding_transfer import ForwardingFlow
from marfl_peer.lab.baselines.one_group import OneGroup
from marfl_peer.lab.baselines.ring_transfer import RingFlow
from marfl_peer.lab.baselines.server import ServerFlow
from marfl_peer.peer.scheme import Mar, Scheme
from marfl_peer.protocol.messages import MAX_MEMBERS

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Mar(),
            OneGroup("fedavg", ServerFlow),
            OneGroup("rdfl", ForwardingFlow),
            OneGroup("ar", EverybodyFlow),
            OneGroup("ring", RingFlow),
            ByLot("random"),
            ByLot("gossip", is_in_pairs=True),
        )
    }
)
"""By the value of the setting `aggregation`."""


def scheme_of(settings: Settings, *, peers: int) -> Scheme:
    """The scheme of a run that `peers` peers are to found.

    Raises: ConfigError for more peers than can be one group, where all of them are to be.
    """
    if settings.aggregation in ONE_GROUP and peers > MAX_MEMBERS:
        remedy = f"is one group of all peers, {MAX_MEMBERS} at most, not {peers}: take fewer, or --aggregation mar"
        raise ConfigError("aggregation", settings.aggregation, remedy)
    return SCHEMES[settings.aggregation]
