from __future__ import annotations

from collections.abc import Iterator

import pytest

from marfl_peer.averaging import kernels


@pytest.fixture(scope="module", autouse=True, params=["c", "numpy"])
def computed_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whatever is asked of averaging and codecs is asked of both."""
    by, before = request.param, kernels.native
    if by == "c" and before is None:
        pytest.skip("built without a compiler: there is only numpy")
    if by == "numpy":
        kernels.native = None
    yield by
    kernels.native = before
