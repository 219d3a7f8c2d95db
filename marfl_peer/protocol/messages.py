"""What peers say to each other over TCP: small declarative classes, one msgpack array each, checked by their types.

The header of every frame is one of these. Numbers are bounded, strings and lists have lengths; whatever does not fit
is a RemoteProtocolError before anything acts on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.deadlines import heartbeat_s
from marfl_peer.protocol.signatures import PublicKey, Signature

PROTOCOL_VERSION = 11
MAX_MEMBERS = 128
"""Of a group: twice what `group_size` may be, for schemes in which all peers are one group."""
MAX_HEARTBEAT_S = heartbeat_s(MAX_MEMBERS)
"""What nobody may exceed, however large its group is."""
MARK_DIGITS = 16
"""Of a view's digest, in the name of a line."""
MAX_SPEED = 107
"""Of a link, in the steps of `speeds`: that of a gigabit."""
WHOLE = 1000
"""What the shares of the members of a ballot add up to."""
DIGEST_BYTES = 32
"""Of BLAKE3."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Small = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Id = Annotated[str, msgspec.Meta(min_length=40, max_length=40, pattern="^[0-9a-f]{40}$")]
Text = Annotated[str, msgspec.Meta(max_length=500)]
Digest = Annotated[str, msgspec.Meta(max_length=64, pattern="^[0-9a-f]*$")]
Blob = Annotated[bytes, msgspec.Meta(max_length=4096)]
Scalars = Annotated[tuple[float, ...], msgspec.Meta(max_length=16)]
Maxima = Annotated[tuple[int, ...], msgspec.Meta(max_length=256)]
Few = Annotated[tuple[Count, ...], msgspec.Meta(max_length=4)]
Speed = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPEED)]
Shares = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=WHOLE)], ...], msgspec.Meta(max_length=MAX_MEMBERS)]
Cells = Annotated[tuple[Small, ...], msgspec.Meta(max_length=MAX_MEMBERS)]


class Body(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A part of a message."""


class Message(Body, frozen=True, kw_only=True, array_like=True):
    """Base of all messages; the class name is the first element of the array."""


# the door


class Hello(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """First message of both sides. An observer asks and goes; a peer stays."""

    version: Small
    role: Literal["peer", "observer"]
    run_id: Text
    public_key: PublicKey
    incarnation: Count
    nonce: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    settings_digest: Digest
    schema_digest: Digest
    host: Text
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Proof(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Signature over both hellos: the sender holds the key that it showed, now, for this connection."""

    signature: Signature


class Refusal(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    code: Text
    detail: Text


class Heartbeat(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Sent by the event loop on every connection over which nothing else is. `iteration`: where the sender is; 0 before
    the first. `every_s`: how often something is sent from now on, in seconds."""

    iteration: Count = 0
    every_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_HEARTBEAT_S)] = 1


class Goodbye(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The sender closes this connection on purpose: nobody is lost."""


# questions


class RunRequest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    pass


class RunReply(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload: the signed run record."""


class StatusRequest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    pass


class StatusReply(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload: JSON."""


# membership


class Events(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload: msgpack array of membership events. `answer_wanted`: send back what I lack.

    The sender is in `iteration`. Where parts of the swarm merge, the events count from iteration `since` on.
    """

    answer_wanted: bool = False
    iteration: Count = 0
    since: Count = 0


class Whereabouts(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The sender is in `iteration` of a view without the receiver, which it knows to be alive now."""

    iteration: Count


class Absent(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The sender catches up: it comes to no exchange of an iteration up to this one that it is not through with."""

    until: Count


class StartProposal(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The lowest id proposes to found the swarm: would you, and which state do you hold?"""


class StartAnswer(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload, where accepted: the signed member record. The digest is that of the state after `iteration` that the
    sender holds: its own from an earlier life, or the initial one of iteration 0."""

    accepted: bool
    iteration: Count
    state_digest: Digest
    reason: Text


class Start(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The swarm goes on after `iteration` with this first view (its events were sent before). Who does not hold the
    state of this digest takes it from `holders`."""

    view_digest: Digest
    iteration: Count
    state_digest: Digest
    holders: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)]


class Relayed(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Before the start of a large swarm: the events of its first view come to you from this peer, which has them from
    the sender or from another one."""

    peer_id: Id


class JoinRequest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload: the joiner's signed member record."""


class JoinReply(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The joiner counts from `first_iteration` on; all events were sent before."""

    first_iteration: Count


# state


class StateRequest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Offer me the agreed state as soon as you hold one of at least this iteration."""

    at_least: Count


class StateOffer(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """I hold the state after `iteration`: `vector_bytes` with this digest, and these integers; `group` agreed on it.

    Signed with the sender's identity. The offered state is kept for who was offered it.
    """

    iteration: Count
    vector_bytes: Count
    digest: Digest
    maxima: Maxima
    group: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    public_key: PublicKey
    signature: Signature


class StatePull(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Send me the part at `offset` of the state that you offered."""

    iteration: Count
    offset: Count


class StatePart(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Payload: the part of the state's vector at byte `offset`."""

    iteration: Count
    offset: Count


class NoState(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Answer to StatePull: I do not hold the state after that iteration any more."""

    iteration: Count


class StateTaken(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """I need nothing more of what you offered."""


# one line of the grid


class LineName(Body, frozen=True, kw_only=True, array_like=True, order=True):
    """Names an exchange: iteration, round and the lowest cell of the line, in the view that `view_mark` stands for.

    Peers with different views of an iteration mean different cells by the same numbers: what one says of its line is
    nothing to the other.
    """

    iteration: Count
    round: Small
    line: Small
    view_mark: Annotated[str, msgspec.Meta(max_length=MARK_DIGITS)] = ""


class Ballot(Body, frozen=True, kw_only=True, array_like=True, order=True):
    """A numbered attempt at an exchange. Totally ordered: attempt first, then the leader's id."""

    attempt: Small
    leader: Id


class Seat(Body, frozen=True, kw_only=True, array_like=True):
    """A cell and what its player brings besides the vector: weight, sums to add, integers whose maximum counts."""

    cell: Small
    weight: Count
    sums: Scalars
    maxima: Maxima


class Member(Body, frozen=True, kw_only=True, array_like=True):
    """A member of a ballot: who it is and the seats that it plays."""

    peer_id: Id
    seats: Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    update_s: float


class Here(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To the leader: I am ready to exchange on this line with these seats. `promised`: the highest ballot accepted.
    `late`: who should lead and does not come; where there are any, this goes to everybody on the line. `waited_s`: how
    long my clock of this iteration has been running, which whoever has just become leader cannot know. `base`: digest
    of the state that I began the iteration from, where values are encoded. `full_in`: when all send full values.
    `speed`: of my uplink, and `slowest`: of the slowest that I know of in this iteration; 0: not known."""

    name: LineName
    view_digest: Digest
    seats: Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    update_s: float
    promised: Ballot | None
    late: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)] = ()
    waited_s: Annotated[float, msgspec.Meta(ge=0.0, le=2.0**31)] = 0.0
    base: Digest = ""
    full_in: Few = ()
    speed: Speed = 0
    slowest: Speed = 0


class Propose(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """From the leader: exchange under this ballot with these members, in the order of their cells. Where `base` names
    the state that all of them hold, values are encoded against it; else they are sent in full. `full_in`, `slowest`:
    see Here. `shares`: how much of the vector each of them owns, in thousandths; none: all the same."""

    name: LineName
    ballot: Ballot
    view_digest: Digest
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    base: Digest = ""
    full_in: Few = ()
    slowest: Speed = 0
    shares: Shares = ()


class Ready(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To every member: my buffers for this ballot exist, send."""

    name: LineName
    ballot: Ballot


class Nack(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To a leader: I accepted a higher ballot than yours; or, where `promised` is yours, lost what it sent me."""

    name: LineName
    ballot: Ballot
    promised: Ballot


class Have(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To a leader: I hold the result of `completed` already."""

    name: LineName
    completed: Ballot


class Take(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """From the leader: the line's result is that of `completed`; fetch it from one of `sources`."""

    name: LineName
    completed: Ballot
    sources: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]


class Done(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To everybody on the line: I hold the result of this ballot."""

    name: LineName
    completed: Ballot


class Play(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """From the leader: the player of this cell is gone and you hold its state: play it."""

    name: LineName
    cell: Small


class CannotPlay(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To the leader: I do not hold the state of this cell, or gave this line up: do not wait for me."""

    name: LineName
    cell: Small


class Culprit(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """From an owner to the leader: this member sent values that are not finite."""

    name: LineName
    ballot: Ballot
    peer_id: Id


class Behind(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """The exchange you ask for is over and forgotten: the swarm is in this iteration."""

    name: LineName
    iteration: Count


# tensor bytes


class Part(Message, frozen=True, kw_only=True, array_like=True, tag="p"):
    """Payload: a segment of the vector, as the ballot encodes it; as float32 it would begin at byte `offset`. scatter:
    a contribution to its owner; gather: an owner's result."""

    name: LineName
    ballot: Ballot
    stage: Literal["scatter", "gather"]
    offset: Count


class ChunkDigest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """An owner's signed BLAKE3 digest of its chunk of the result: what makes the result worth taking from anybody."""

    name: LineName
    ballot: Ballot
    start: Count
    stop: Count
    digest: Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
    signature: Signature
    public_key: PublicKey


class Fetch(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To a member that holds it: send me the result of this ballot."""

    name: LineName
    ballot: Ballot


class ResultOffer(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Answer to Fetch: the members' combined seat and the owners' digests; the vector follows in ResultPart frames."""

    name: LineName
    ballot: Ballot
    weight: Count
    sums: Scalars
    maxima: Maxima
    members: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    chunks: Annotated[tuple[ChunkDigest, ...], msgspec.Meta(max_length=MAX_MEMBERS)]


class NoResult(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Answer to Fetch: I do not hold that result (any more)."""

    name: LineName
    ballot: Ballot


class ResultPart(Message, frozen=True, kw_only=True, array_like=True, tag="r"):
    """Payload: values of a fetched result from byte `offset` on."""

    name: LineName
    ballot: Ballot
    offset: Count


# distillation


class ModelRequest(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """To a mate on a line: offer me your model as it enters this round of distillation, as soon as it does."""

    name: LineName


class ModelOffer(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """I have it. `base`: digest of the state that its values can be encoded against; none: they travel in full."""

    name: LineName
    base: Digest = ""


class ModelPull(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """Send me the model that you offered: encoded if I name the base, which I hold, too, and else in full."""

    name: LineName
    base: Digest = ""


class ModelPart(Message, frozen=True, kw_only=True, array_like=True, tag="m"):
    """Payload: a segment of the model's vector, which begins at float `offset`, in the form that was asked for."""

    name: LineName
    offset: Count


class NoModel(Message, frozen=True, kw_only=True, array_like=True, tag=True):
    """I have no model to offer on this line (any more)."""

    name: LineName


LineMessage = Here | Propose | Ready | Nack | Have | Take | Done | Play | CannotPlay | Culprit | Behind
"""About who exchanges on a line: what matchmaking hears."""
StateMessage = StateRequest | StateOffer | StatePull | StatePart | NoState | StateTaken
"""About the agreed state and who is behind."""
ModelMessage = ModelRequest | ModelOffer | ModelPull | ModelPart | NoModel
"""About the models that mates distil from."""
RoundMessage = LineMessage | Part | ChunkDigest | Fetch | ResultOffer | NoResult | ResultPart
"""Everything that belongs to one iteration, which its `name` names."""
AnyMessage = (
    Hello
    | Proof
    | Refusal
    | Heartbeat
    | Goodbye
    | RunRequest
    | RunReply
    | StatusRequest
    | StatusReply
    | Events
    | Whereabouts
    | Absent
    | StartProposal
    | StartAnswer
    | Start
    | Relayed
    | JoinRequest
    | JoinReply
    | StateMessage
    | ModelMessage
    | RoundMessage
)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    """The header bytes of a message."""
    return _ENCODER.encode(message)


def decode(header: bytes) -> AnyMessage:
    """The message in a header. Raises: RemoteProtocolError."""
    try:
        return _DECODER.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # What the schema does not allow and what is no msgpack at all: both are the sender's fault.
        raise RemoteProtocolError("bad_message", str(error)) from None
