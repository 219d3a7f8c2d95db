"""The metrics a peer has: names, units, labels and meanings, declared once for code and documentation.

Labels take few values: what other peers can choose is bounded in `metrics`. Values that are known beforehand are
there from the beginning, at 0: a rate sees only changes, and would miss the first of a kind.
"""

from __future__ import annotations

from enum import Enum
from itertools import product
from typing import get_args

import msgspec

from marfl_peer.facts import (
    ByteKind,
    DhtCall,
    GroupOutcome,
    LookupPurpose,
    MembershipEvent,
    PublishPurpose,
    WaitedFor,
    WaitOutcome,
)

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histograms, in seconds."""

SKETCH_SUMS = 16
"""Numbers that stand for a model here: the 64 of a fact, four to one."""


class Shape(Enum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Measure(msgspec.Struct, frozen=True):
    """One metric. The name of a counter ends in `_total`."""

    name: str
    shape: Shape
    meaning: str
    labels: tuple[str, ...] = ()
    at_start: tuple[tuple[str, ...], ...] = ()
    """Values of the labels that a counter has before anything happened."""


def _each(*values: object) -> tuple[tuple[str, ...], ...]:
    """All combinations of the values of these `Literal` types, one a label."""
    return tuple(product(*(get_args(one) for one in values)))


_C, _G, _H = Shape.COUNTER, Shape.GAUGE, Shape.HISTOGRAM
PEER_INFO = Measure(
    "marfl_peer_info", _G, "1, with the peer's id, run and task as labels", ("peer_id", "run_id", "task")
)
ITERATION = Measure("marfl_iteration_number", _G, "last iteration that was finished")
ITERATIONS = Measure(
    "marfl_iterations_total", _C, "iterations by how they ended", ("outcome",), (("finished",), ("skipped",))
)
ITERATION_S = Measure("marfl_iteration_seconds", _H, "local update and all rounds of an iteration")
UPDATE_S = Measure("marfl_local_update_seconds", _H, "local update of an iteration")
SAMPLES = Measure("marfl_trained_samples_total", _C, "samples that local updates went through")
WEIGHT = Measure("marfl_weight_samples", _G, "weight of this peer in its last iteration")
TRAIN_LOSS = Measure("marfl_train_loss_mean", _G, "the swarm's training loss in the last iteration")
TEST_LOSS = Measure("marfl_test_loss_mean", _G, "loss on this peer's share of the test set at the last evaluation")
ACCURACY = Measure("marfl_test_accuracy_ratio", _G, "the swarm's accuracy on the test set, 0 to 1")
VIEW_PEERS = Measure("marfl_view_peers", _G, "peers in the current view")
IN_VIEW = Measure("marfl_in_view_bool", _G, "1 while this peer is in the current view")
EVENTS = Measure(
    "marfl_membership_events_total", _C, "other peers by what became of them", ("event",), _each(MembershipEvent)
)
PEERS_SEEN = Measure("marfl_peers_seen", _G, "peers of the view that are not known to be gone")
PEERS_KNOWN = Measure("marfl_peers_known", _G, "peers that ever joined and did not leave on purpose")
UPLINK = Measure("marfl_uplink_bytes_per_second", _G, "how fast this peer sent in exchanges of late")
MERGES = Measure("marfl_merges_total", _C, "merges with another part of the swarm")
GROUPS = Measure("marfl_groups_total", _C, "group exchanges by how they ended", ("outcome",), _each(GroupOutcome))
ABSENT = Measure("marfl_group_members_absent_total", _C, "members of lines that were not in their group's exchange")
BALLOTS = Measure("marfl_ballots_total", _C, "attempts at group exchanges")
EXCHANGE_S = Measure("marfl_exchange_seconds", _H, "one group exchange, matchmaking included")
LESSONS = Measure(
    "marfl_distillation_rounds_total",
    _C,
    "rounds of distillation by whether there was a teacher",
    ("outcome",),
    (("learned",), ("skipped",)),
)
TEACHERS = Measure(
    "marfl_distillation_models_total",
    _C,
    "models of group-mates, heard or learned from",
    ("role",),
    (("heard",), ("teacher",)),
)
LESSON_S = Measure("marfl_distillation_seconds", _H, "one round of distillation, waiting included")
LESSON_BYTES = Measure("marfl_distillation_received_bytes_total", _C, "bytes of models received to distil from")
DIVERGENCE = Measure("marfl_distillation_divergence_nats", _G, "from the last teachers, before, over all mini-batches")
WAITS = Measure(
    "marfl_waits_total",
    _C,
    "waits for other peers by what ended them",
    ("waited_for", "outcome"),
    _each(WaitedFor, WaitOutcome),
)
WAIT_S = Measure("marfl_wait_seconds", _H, "waits for other peers", ("waited_for",))
TAKEN_OVER = Measure("marfl_cells_taken_over_total", _C, "cells played for a peer that was gone")
SUPERSEDED = Measure("marfl_results_superseded_total", _C, "results that a later ballot replaced")
SENT = Measure("marfl_sent_bytes_total", _C, "bytes written to sockets", ("kind",), _each(ByteKind))
FETCHED = Measure("marfl_state_fetched_bytes_total", _C, "bytes of states downloaded to catch up")
SAVED = Measure("marfl_state_saved_bytes_total", _C, "bytes of states written to disk")
SAVE_S = Measure("marfl_state_save_seconds", _H, "saving a state")
LOOKUPS = Measure("marfl_dht_lookups_total", _C, "look-ups in the DHT", ("purpose",), _each(LookupPurpose))
LOOKUP_S = Measure("marfl_dht_lookup_seconds", _H, "one look-up in the DHT")
PUBLISHED = Measure(
    "marfl_dht_publications_total", _C, "records published in the DHT", ("purpose",), _each(PublishPurpose)
)
DHT_CALLS = Measure(
    "marfl_dht_calls_total", _C, "remote calls in the DHT by what came of them", ("outcome",), _each(DhtCall)
)
SKETCH = Measure(
    "marfl_model_sketch", _G, "seeded random sums over the agreed model: equal models have equal ones", ("part",)
)
REFUSED = Measure("marfl_connections_refused_total", _C, "connections turned away, by whom", ("code", "by"))
FAULTS = Measure("marfl_remote_faults_total", _C, "peers dropped for what they sent", ("code",))
DATAGRAMS = Measure("marfl_datagrams_rejected_total", _C, "datagrams and DHT records dropped", ("code",))
EPSILON = Measure(
    "marfl_privacy_epsilon",
    _G,
    "privacy that this peer's releases cost, against whom: a group-mate, or an outsider",
    ("against",),
)
CLIP = Measure("marfl_privacy_clip", _G, "L2 norm that updates were clipped to in the last iteration")
RELEASES = Measure("marfl_privacy_releases", _G, "noised updates that left this peer in all of its lives")
LAG_S = Measure("marfl_loop_lag_seconds", _H, "how late the event loop was for a timer")

MEASURES: tuple[Measure, ...] = (
    *(
        PEER_INFO,
        ITERATION,
        ITERATIONS,
        ITERATION_S,
        UPDATE_S,
        SAMPLES,
        WEIGHT,
        TRAIN_LOSS,
        TEST_LOSS,
        ACCURACY,
        SKETCH,
    ),
    *(
        VIEW_PEERS,
        IN_VIEW,
        EVENTS,
        PEERS_SEEN,
        PEERS_KNOWN,
        UPLINK,
        MERGES,
        GROUPS,
        ABSENT,
        BALLOTS,
        EXCHANGE_S,
        WAITS,
        WAIT_S,
        TAKEN_OVER,
        SUPERSEDED,
    ),
    *(LESSONS, TEACHERS, LESSON_S, LESSON_BYTES, DIVERGENCE),
    *(SENT, FETCHED, SAVED, SAVE_S, LOOKUPS, LOOKUP_S, PUBLISHED, DHT_CALLS, REFUSED, FAULTS, DATAGRAMS, LAG_S),
    *(EPSILON, CLIP, RELEASES),
)
