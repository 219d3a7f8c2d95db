"""In which order the sides are measured: in blocks that take turns, so that what else the machine does meets all.

Nothing is dropped: every repeat after the first ones counts, also one that others disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from marfl_peer.lab.bench.callbacks import Callback, worst
from marfl_peer.lab.bench.conductor import Conductor
from marfl_peer.lab.bench.figures import are_equal, checked
from marfl_peer.lab.bench.sides import Side

BLOCK = 5
WARM_UPS = 2
"""The first repeats are not measured; the result of the very first is checked, and the bits of the very last."""
WATCHED_REPEATS = 20

Note = Callable[[str, float], None]
"""Takes what is going on, in a few words, and the share of the work that is done, 0..1."""


def turns(repeats: Mapping[str, int]) -> Iterator[str]:
    """Whose turn it is, one name a repeat: as many of each as asked for, in blocks that take turns."""
    left = dict(repeats)
    blocks = max(-(-count // BLOCK) for count in left.values())
    for block in range(blocks, 0, -1):
        for name in left:
            now = -(-left[name] // block)  # who has fewer repeats has them spread over all blocks
            left[name] -= now
            yield from [name] * now


async def watch_callbacks(conductor: Conductor, side: Side, repeats: int, note: Note) -> list[Callback]:
    """Of peers that are watched, in repeats that are not timed: those that took most. Raises: MarflError."""
    done = []
    for count in range(WARM_UPS + min(repeats, WATCHED_REPEATS)):
        note(f"watching callbacks: {count + 1}", 1.0)
        done.append(await conductor.measure(side.members))
    return worst(callback for repeat in done[WARM_UPS:] for one in repeat for callback in one.callbacks)


async def compete(
    conductor: Conductor, sides: Sequence[Side], repeats: Mapping[str, int], note: Note
) -> dict[str, float]:
    """Measures all sides, `repeats` by name; fills their `measured`. Returns the largest error by name, where known.

    Raises: MarflError, also for a result that is wrong.
    """
    errors: dict[str, float] = {}
    for side in sides:
        for warm_up in range(min(WARM_UPS, repeats[side.name])):
            note(f"{side.name}: warming up", 0.0)
            done = await conductor.measure(side.members, side.what, checked=warm_up == 0)
            error = checked(done, side.name) if warm_up == 0 else None
            if error is not None:
                errors[side.name] = error
    by_name = {side.name: side for side in sides}
    for count, name in enumerate(turns(repeats)):
        side = by_name[name]
        note(f"{name}: {len(side.measured) + 1} of {repeats[name]}", count / sum(repeats.values()))
        is_last = len(side.measured) + 1 == repeats[name]
        done = await conductor.measure(side.members, side.what, checked=is_last)
        if is_last:
            are_equal(done, name)
        side.measured.append(done)
    return errors
