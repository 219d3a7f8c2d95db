"""Settings of the run come from the run: a joiner asks those it knows, and contradicts nobody silently."""

from __future__ import annotations

from collections.abc import Collection

from marfl_peer.config import Settings, parse_address, shared_names
from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.ids import dht_key
from marfl_peer.peer.inquiry import NoAnswer, ask_run
from marfl_peer.protocol import records
from marfl_peer.protocol.records import RunBody


async def adopt_run(settings: Settings, stated: Collection[str]) -> Settings:
    """These settings with those of the run that the bootstrap peers are in; unchanged where none of them answers.

    Raises: ConfigError where a stated setting contradicts the run's, naming both values.
    """
    for address in settings.bootstrap:
        host, port = parse_address(address)
        try:
            body = read_run(await ask_run(host, port))
        except (NoAnswer, RemoteProtocolError):
            continue
        return adopt(settings, stated, body, source=address)
    return settings


def read_run(encoded: bytes) -> RunBody:
    """The checked body of a run record. Raises: RemoteProtocolError."""
    record = records.decode(encoded)
    records.verify_signature(record)
    body = records.decode_body(record.body)
    if not isinstance(body, RunBody) or record.key != run_key(str(body.settings.get("run_id"))):
        raise RemoteProtocolError("record_body", "not a run record")
    return body


def run_key(run_id: str) -> bytes:
    """Where the run record lies in the DHT."""
    return dht_key("run", run_id)


def adopt(settings: Settings, stated: Collection[str], body: RunBody, *, source: str) -> Settings:
    """Raises: ConfigError for a contradiction, or a run with settings that this release does not know."""
    unknown = sorted(set(body.settings) - set(shared_names()))
    if unknown:
        text = f"the run at {source} has a setting that this release does not know: install the release it runs"
        raise ConfigError(unknown[0].replace("_", "-"), body.settings[unknown[0]], text)
    for name in shared_names():
        theirs, mine = body.settings.get(name), getattr(settings, name)
        if name in stated and name in body.settings and theirs != mine:
            text = f"the run at {source} has {theirs!r}: leave the setting out, or start a run of your own"
            raise ConfigError(name.replace("_", "-"), mine, text)
    return settings.adopt(dict(body.settings))
