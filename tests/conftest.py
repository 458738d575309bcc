"""Settings of the whole suite: hypothesis without deadlines, because the machines that run it are shared."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("shared", deadline=None, max_examples=50)
settings.load_profile("shared")

# Two threads of torch that spin while they wait take the cores from the tests that decode video.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Read when a kernel is defined, which may be in any test. TRITON_INTERPRET=0 tests them on a card.
os.environ.setdefault("TRITON_INTERPRET", "1")
