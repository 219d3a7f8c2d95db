"""What a peer has released of its data, on its disk: every release is written down, durably, before it leaves.

What cannot be read is an error and never "nothing was spent". A release is charged as if only its owner had contributed
to what others see of it, and moved to the number of contributors once that is known. Knows counts, not epsilons.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from marfl_peer import disk
from marfl_peer.errors import ConfigError

LEDGER_FILE = "privacy.json"
FORMAT = 1
MAX_LEDGER_BYTES = 1 << 24


class Entry(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """So many `releases` under one noise multiplier, each averaged with others to `contributors` in all."""

    noise: float
    contributors: int
    releases: int


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file."""

    format: int = FORMAT
    run_id: str
    task: str
    delta: float
    entries: tuple[Entry, ...] = ()
    checksum: str = ""
    """See `disk.sealed`."""


class Ledger:
    """The ledger of one peer's data in one run; `open` it once a life."""

    def __init__(self, path: Path, page: Page) -> None:
        self._path, self._page = path, page

    @classmethod
    def open(cls, state_dir: Path, *, run_id: str, task: str, delta: float) -> Ledger:
        """The ledger in this folder, or a new one. Raises: ConfigError for one that is damaged, or of another run."""
        path = state_dir / LEDGER_FILE
        page = _read(path)
        if page is None:
            return cls(path, Page(run_id=run_id, task=task, delta=delta))
        for name, spent_in, now in (
            ("run-id", page.run_id, run_id),
            ("task", page.task, task),
            ("dp-delta", page.delta, delta),
        ):
            if spent_in != now:
                remedy = (
                    f"the privacy ledger {path} is kept for {spent_in!r}, and what was spent there stays spent: use "
                    f"that, or for other data another --state-dir"
                )
                raise ConfigError(name, now, remedy)
        return cls(path, page)

    @property
    def releases(self) -> int:
        """How many there were in all lives."""
        return sum(entry.releases for entry in self._page.entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was released so far."""
        return self._page.entries

    def charge(self, noise: float) -> None:
        """One more release, which may leave when this returns. Raises: ConfigError where it cannot be written."""
        self._write(_moved(self._page.entries, noise, to=1))

    def settle(self, noise: float, *, contributors: int) -> None:
        """The release that was charged last went into a mean of so many updates. Raises: ConfigError."""
        if contributors > 1:
            self._write(_moved(self._page.entries, noise, origin=1, to=contributors))

    def _write(self, entries: tuple[Entry, ...]) -> None:
        page = msgspec.structs.replace(self._page, entries=entries)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            disk.write_whole(self._path, disk.sealed(page))
        except OSError as error:
            remedy = f"the privacy ledger cannot be written ({error.strerror}), so nothing may be released"
            raise ConfigError("state-dir", str(self._path), remedy) from None
        self._page = page


def _moved(entries: tuple[Entry, ...], noise: float, *, to: int, origin: int | None = None) -> tuple[Entry, ...]:
    counts = {(entry.noise, entry.contributors): entry.releases for entry in entries}
    if origin is not None:
        counts[noise, origin] -= 1
    counts[noise, to] = counts.get((noise, to), 0) + 1
    return tuple(
        Entry(noise=noise, contributors=contributors, releases=count)
        for (noise, contributors), count in sorted(counts.items())
        if count
    )


def _read(path: Path) -> Page | None:
    try:
        if path.stat().st_size > MAX_LEDGER_BYTES:
            raise _damaged(path, "larger than any ledger")
        content = path.read_bytes()
        page = msgspec.json.decode(content, type=Page)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    if page.format != FORMAT:
        raise _damaged(path, f"has format {page.format}, not {FORMAT}")
    if content != disk.sealed(page):
        raise _damaged(path, "it is not what its checksum says")
    return page


def _damaged(path: Path, what: str) -> ConfigError:
    remedy = (
        f"the privacy ledger is damaged ({what}): what this peer released is not known any more. Restore the file; or, "
        f"knowing that it all counts from zero, start with another --state-dir"
    )
    return ConfigError("state-dir", str(path), remedy)
