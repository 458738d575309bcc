"""Settings of the whole suite: hypothesis without deadlines, because the machines that run it are shared, and with the
same examples in every run, so that a change is judged by what it changes."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("shared", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("shared")

# Two threads of torch that spin while they wait take the cores from the tests that decode video.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
