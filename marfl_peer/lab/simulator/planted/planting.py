"""What a planted bug is: a name, the invariants that it breaks, and a patch of the product that is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """`owner.name` is replaced by `make(what it was)`."""

    owner: Any
    name: str
    make: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """`breaks`: the invariants that may show it; whichever of them is reported first counts."""

    name: str
    description: str
    breaks: tuple[str, ...]
    patches: tuple[Patch, ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The product has the bug inside of this block."""
        with ExitStack() as stack:
            for patch in self.patches:
                before = vars(patch.owner)[patch.name]  # as it is written there: a static method, a property
                stack.enter_context(swapped(patch.owner, patch.name, patch.make(before)))
            yield


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` inside of this block."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
