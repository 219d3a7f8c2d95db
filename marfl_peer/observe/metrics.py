"""Facts as Prometheus metrics: the sink that counts. One registry a peer, none of the process.

Knows facts and measures. Values that other peers choose never become a label unbounded.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from marfl_peer.facts import (
    CellTakenOver,
    ConnectionRefused,
    DatagramRejected,
    DhtLookedUp,
    DhtPublished,
    Distilled,
    Evaluated,
    Fact,
    GroupFinished,
    IterationFinished,
    IterationSkipped,
    LocalUpdateFinished,
    LoopLagged,
    MergeAgreed,
    PeersCounted,
    PeerSeen,
    PeerStarted,
    PrivacySpent,
    RemoteFault,
    ResultSuperseded,
    StateFetched,
    StateSaved,
    UplinkMeasured,
    ViewChanged,
    WaitEnded,
)
from marfl_peer.observe import measures as m

MAX_CODES = 50
MAX_CODE_LENGTH = 40
OTHER = "other"


class Metrics:
    """A sink that keeps every measure of `measures.MEASURES` in `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[m.Measure, Counter] = {}
        self._gauges: dict[m.Measure, Gauge] = {}
        self._histograms: dict[m.Measure, Histogram] = {}
        for measure in m.MEASURES:
            name, meaning, labels = measure.name, measure.meaning, measure.labels
            match measure.shape:
                case m.Shape.COUNTER:
                    counter = self._counters[measure] = Counter(name, meaning, labels, registry=self.registry)
                    for values in measure.at_start:
                        counter.labels(*values)
                case m.Shape.GAUGE:
                    self._gauges[measure] = Gauge(name, meaning, labels, registry=self.registry)
                case m.Shape.HISTOGRAM:
                    self._histograms[measure] = Histogram(
                        name, meaning, labels, registry=self.registry, buckets=m.BUCKETS_S
                    )
        self._codes: set[str] = set()

    def __call__(self, fact: Fact) -> None:
        match fact:
            case PeerStarted():
                self._set(m.PEER_INFO, 1, fact.peer_id, fact.run_id, fact.task)
            case ViewChanged():
                self._set(m.VIEW_PEERS, fact.peers)
                self._set(m.IN_VIEW, fact.cell is not None)
            case LocalUpdateFinished():
                self._observe(m.UPDATE_S, fact.seconds)
                self._count(m.SAMPLES, fact.samples)
            case Distilled():
                self._distilled(fact)
            case IterationFinished():
                self._iteration_finished(fact)
            case Evaluated(loss=float(loss)):
                self._set(m.TEST_LOSS, loss)
            case IterationSkipped():
                self._count(m.ITERATIONS, 1, "skipped")
            case PeerSeen():
                self._count(m.EVENTS, 1, fact.event)
            case PeersCounted():
                self._set(m.PEERS_SEEN, fact.seen)
                self._set(m.PEERS_KNOWN, fact.known)
            case MergeAgreed():
                self._count(m.MERGES, 1)
            case GroupFinished():
                self._count(m.GROUPS, 1, fact.outcome)
                self._count(m.ABSENT, fact.absent)
                self._count(m.BALLOTS, fact.attempts)
                self._observe(m.EXCHANGE_S, fact.seconds)
            case WaitEnded():
                self._count(m.WAITS, 1, fact.waited_for, fact.outcome)
                self._observe(m.WAIT_S, fact.seconds, fact.waited_for)
            case CellTakenOver():
                self._count(m.TAKEN_OVER, 1)
            case ResultSuperseded():
                self._count(m.SUPERSEDED, 1)
            case _:
                self._io(fact)

    def _io(self, fact: Fact) -> None:
        """What happened at the sockets, the DHT, the disk and the loop."""
        match fact:
            case ConnectionRefused():
                self._count(m.REFUSED, 1, self._bounded(fact.code), "us" if fact.by_us else "them")
            case RemoteFault():
                self._count(m.FAULTS, 1, self._bounded(fact.code))
            case DatagramRejected():
                self._count(m.DATAGRAMS, fact.count, self._bounded(fact.code))
            case DhtLookedUp():
                self._count(m.LOOKUPS, 1, fact.purpose)
                self._observe(m.LOOKUP_S, fact.seconds)
            case DhtPublished():
                self._count(m.PUBLISHED, 1, fact.purpose)
            case StateFetched():
                self._count(m.FETCHED, fact.bytes_received)
            case StateSaved():
                self._count(m.SAVED, fact.bytes_written)
                self._observe(m.SAVE_S, fact.seconds)
            case UplinkMeasured():
                self._set(m.UPLINK, fact.bytes_per_s)
            case PrivacySpent():
                self._set(m.EPSILON, fact.epsilon_mate, "mate")
                self._set(m.EPSILON, fact.epsilon_outsider, "outsider")
                self._set(m.CLIP, fact.clip)
                self._set(m.RELEASES, fact.releases)
            case LoopLagged():
                self._observe(m.LAG_S, fact.seconds)

    def _distilled(self, fact: Distilled) -> None:
        self._count(m.LESSONS, 1, "learned" if fact.teachers else "skipped")
        self._count(m.TEACHERS, fact.candidates, "heard")
        self._count(m.TEACHERS, len(fact.teachers), "teacher")
        self._observe(m.LESSON_S, fact.seconds)
        self._count(m.LESSON_BYTES, fact.bytes_received)
        if fact.divergence is not None:
            self._set(m.DIVERGENCE, fact.divergence)

    def _iteration_finished(self, fact: IterationFinished) -> None:
        self._count(m.ITERATIONS, 1, "finished")
        self._set(m.ITERATION, fact.iteration)
        self._observe(m.ITERATION_S, fact.seconds)
        self._set(m.WEIGHT, fact.weight)
        for measure, value in ((m.TRAIN_LOSS, fact.train_loss), (m.ACCURACY, fact.test_accuracy)):
            if value is not None:
                self._set(measure, value)
        for kind, count in fact.bytes_sent.items():
            self._count(m.SENT, count, kind)
        for outcome, count in fact.dht_calls.items():
            self._count(m.DHT_CALLS, count, outcome)
        # Folding a sketch gives that of the same model with fewer sums: signs and places stay as random as they were.
        for part in range(min(m.SKETCH_SUMS, len(fact.projection))):
            self._set(m.SKETCH, sum(fact.projection[part :: m.SKETCH_SUMS]), str(part))

    def _count(self, measure: m.Measure, amount: float, *labels: str) -> None:
        counter = self._counters[measure]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def _set(self, measure: m.Measure, value: float, *labels: str) -> None:
        gauge = self._gauges[measure]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def _observe(self, measure: m.Measure, seconds: float, *labels: str) -> None:
        histogram = self._histograms[measure]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def _bounded(self, code: str) -> str:
        # A refusal's code can be the other side's word: a stranger must not make time series without end.
        if code in self._codes:
            return code
        if len(self._codes) >= MAX_CODES or len(code) > MAX_CODE_LENGTH or not code.isidentifier():
            return OTHER
        self._codes.add(code)
        return code
