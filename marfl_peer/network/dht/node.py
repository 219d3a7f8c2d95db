"""This peer's node of the DHT: publishes signed records, looks them up, keeps records of others.

The only face of this folder. A record is stored at the `replicas` nodes closest to its key, and here; a look-up
merges what the closest nodes hold with what is held here. Without neighbours both work locally.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from marfl_peer.clock import Clock, Deadline
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.facts import DhtCall, DhtLookedUp, DhtPublished, LookupPurpose, PublishPurpose, Sink
from marfl_peer.ids import PEER_ID_BYTES, DhtKey, PeerId
from marfl_peer.network.dht.binding import bind
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts, distance
from marfl_peer.network.dht.protocol import RecordProtocol
from marfl_peer.network.dht.published import Published, Statement
from marfl_peer.network.dht.responder import Responder
from marfl_peer.network.dht.search import DhtOptions, Search
from marfl_peer.network.dht.storage import RecordStorage
from marfl_peer.network.dht.upkeep import Upkeep
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import records
from marfl_peer.protocol.records import Record

Renew = Callable[[Record, int], Record]
"""Signs the statement of a record once more, valid until the given Unix second."""
GUIDES = 3


class DhtNode:
    """Use it as an async context manager, and `start` it inside; a fault of its background work surfaces there.

    `renew` re-signs this peer's own records before they expire; without it they are repeated until they do. One that
    does not `serve`, because others could not reach it, asks and stores as any other, but becomes nobody's contact.
    """

    def __init__(
        self,
        *,
        identity_id: PeerId,
        clock: Clock,
        on_fact: Sink | None = None,
        renew: Renew | None = None,
        options: DhtOptions | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        serves: bool = True,
    ) -> None:
        self._peer_id = identity_id
        self._clock = clock
        self._on_fact = on_fact
        self._renew = renew
        self._options = options or DhtOptions()
        self._entropy = entropy
        self._serves = serves
        own_id = bytes.fromhex(identity_id)
        self._contacts = Contacts(own_id, bucket_size=self._options.bucket_size)
        self._storage = RecordStorage(own_id)
        self._published = Published()
        self._rejections = Rejections(on_fact)
        self._checker = RecordChecker(self._rejections)
        self._protocol: RecordProtocol | None = None
        self._upkeep: Upkeep | None = None
        self._background = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self.lookups = 0
        self.refreshes = 0

    async def __aenter__(self) -> Self:
        await self._background.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            if isinstance(error, asyncio.CancelledError):  # perhaps the group's own, to tell of a fault in it
                await self._background.__aexit__(kind, error, trace)
            else:  # an error of the body stays what it is, in no group
                await self._background.__aexit__(None, None, None)

    @property
    def address(self) -> tuple[str, int]:
        """Host and UDP port that it is bound to. Raises: DhtError when it is not running."""
        host, port = self._running().transport.get_extra_info("sockname")[:2]
        return str(host), int(port)

    @property
    def bytes_sent(self) -> int:
        """UDP payload bytes that were written to the socket."""
        return self._protocol.bytes_sent if self._protocol is not None else 0

    @property
    def bytes_received(self) -> int:
        return self._protocol.bytes_received if self._protocol is not None else 0

    @property
    def calls(self) -> dict[DhtCall, int]:
        """Remote calls so far, by what came of them."""
        return dict(self._protocol.calls) if self._protocol is not None else {}

    @property
    def contacts(self) -> list[tuple[str, int]]:
        """Addresses of the known nodes, closest to this one first: what to bootstrap from next time."""
        own_id = self._contacts.own.id
        nodes = sorted(self._contacts.all(), key=lambda node: distance(node.id, own_id))
        return [(str(node.ip), int(node.port)) for node in nodes]

    @property
    def rejected(self) -> dict[str, int]:
        """How many datagrams and records were dropped, by reason."""
        return dict(self._rejections.total)

    async def start(self, host: str, port: int) -> None:
        """Binds UDP host:port (port 0: any free one) and begins to serve. Raises: ConfigError."""
        deadline = Deadline(self._clock.now() + self._options.search_timeout_s)
        self._protocol = await bind(self._make_protocol, host, port, deadline=deadline)
        upkeep = self._upkeep = self._make_upkeep(self._protocol)
        self._tasks = [
            self._background.create_task(upkeep.keep_fresh()),
            self._background.create_task(upkeep.hand_over()),
        ]

    async def bootstrap(self, addresses: Sequence[tuple[str, int]]) -> int:
        """Joins the DHT that the nodes at these addresses belong to; returns how many contacts there are now."""
        search = self._search()
        async with asyncio.TaskGroup() as greetings:
            for host, port in dict.fromkeys(addresses):
                greetings.create_task(search.greet(host, port))
        await search.nodes(self._contacts.own.id)
        return len(self._contacts)

    async def publish(self, record: Record, *, purpose: PublishPurpose) -> int:
        """Stores the record at the nodes closest to its key and keeps it alive until a tombstone (an empty body)
        withdraws it; returns how many nodes hold it, this one included.

        Raises: DhtError if it could be stored nowhere: it is not valid now, or older than another.
        """
        search = self._search()
        started, now_wall, key = self._clock.now(), self._clock.wall(), DhtKey(record.key)
        data = records.encode(record)
        try:
            records.verify(records.decode(data), key=key, now_wall=now_wall)
        except RemoteProtocolError as error:
            raise DhtError(f"cannot publish: {error}") from error
        if not self._storage.put(record, data, now_wall=now_wall, pinned=record.peer_id == self._peer_id):
            raise DhtError("cannot publish: a later record of this peer is known, or there is no room")
        self._published.note(record, purpose, now_wall=now_wall)  # before any await: a withdrawal comes after
        if self._upkeep is not None:
            self._upkeep.note_publication()
        holders = await search.store(await search.nodes(key), key, [data])
        self._published.note_holders(record, [node.id for node in holders])
        nodes = 1 + len(holders)
        self._tell(DhtPublished(purpose=purpose, nodes=nodes, seconds=self._clock.now() - started))
        return nodes

    def let_expire(self, key: DhtKey) -> None:
        """What this peer published under the key is kept alive no longer: it ends with its lifetime, everywhere."""
        self._published.forget(key, self._peer_id)

    async def lookup(self, key: DhtKey, *, purpose: LookupPurpose) -> list[Record]:
        """What stands under the key: verified, not expired, one record a peer, sorted by peer id.

        Finds less, and does not raise, when nodes do not answer in time. Raises: DhtError when not running.
        """
        search = self._search()
        started = self._clock.now()
        if purpose == "refresh":
            self.refreshes += 1
        else:
            self.lookups += 1
        found = await search.records(key)
        merged = records.merge([*found, *self._storage.get(key, now_wall=self._clock.wall())])
        self._tell(DhtLookedUp(purpose=purpose, records=len(merged), seconds=self._clock.now() - started))
        return merged

    async def close(self) -> None:
        """Stops serving. May be called again. Searches under way end with what they have."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        protocol = self._protocol
        if protocol is not None and not protocol.closed.done():
            protocol.transport.close()
            await asyncio.wait([protocol.closed], timeout=self._options.close_timeout_s)
        self._rejections.close()

    async def _repeat_statement(self, statement: Statement) -> None:
        """Stores it at those of the closest nodes that do not hold it yet."""
        search, record = self._search(), statement.record
        found = await search.nodes(record.key)
        missing = [node for node in found if node.id not in statement.holders]
        holders = await search.store(missing, DhtKey(record.key), [records.encode(record)])
        self._published.note_holders(record, [node.id for node in holders])

    async def _renew_statement(self, statement: Statement) -> None:
        record = statement.record
        if self._renew is not None and record.peer_id == self._peer_id:
            record = self._renew(record, int(self._clock.wall() + statement.lifetime_s))
        with contextlib.suppress(DhtError):  # it has expired, or its peer has said something later by now
            await self.publish(record, purpose=statement.purpose)

    async def _refresh(self) -> None:
        """Explores around here and somewhere: that makes new contacts and keeps the old ones true."""
        started = self._clock.now()
        self.refreshes += 1
        for target in (self._contacts.own.id, self._entropy(PEER_ID_BYTES)):
            guides = self._contacts.sample(GUIDES, now=self._clock.now(), entropy=self._entropy)
            await self._search().explore(target, guides)
        self._tell(DhtLookedUp(purpose="refresh", records=0, seconds=self._clock.now() - started))

    def _make_protocol(self) -> RecordProtocol:
        responder = Responder(
            contacts=self._contacts,
            storage=self._storage,
            checker=self._checker,
            clock=self._clock,
        )
        return RecordProtocol(
            contacts=self._contacts,
            responder=responder,
            rejections=self._rejections,
            clock=self._clock,
            entropy=self._entropy,
            call_timeout_s=self._options.call_timeout_s,
            serves=self._serves,
        )

    def _make_upkeep(self, protocol: RecordProtocol) -> Upkeep:
        upkeep = Upkeep(
            search=self._search(),
            storage=self._storage,
            contacts=self._contacts,
            published=self._published,
            clock=self._clock,
            options=self._options,
            entropy=self._entropy,
            renew=self._renew_statement,
            repeat=self._repeat_statement,
            refresh=self._refresh,
        )
        protocol.on_newcomer = upkeep.note_newcomer
        return upkeep

    def _search(self) -> Search:
        return Search(
            protocol=self._running(),
            contacts=self._contacts,
            checker=self._checker,
            clock=self._clock,
            options=self._options,
        )

    def _running(self) -> RecordProtocol:
        if self._protocol is None or self._protocol.closed.done():
            raise DhtError("the DHT node is not running")
        return self._protocol

    def _tell(self, fact: DhtPublished | DhtLookedUp) -> None:
        if self._on_fact is not None:
            self._on_fact(fact)
