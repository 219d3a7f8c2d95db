"""What holds for all tests: how long an example takes says more of the machine's load than of the code."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("marfl-peer", deadline=None)
hypothesis.settings.load_profile("marfl-peer")
