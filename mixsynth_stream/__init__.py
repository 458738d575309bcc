"""Human motion from any video with a tenth of the estimator calls and without lag."""

from __future__ import annotations
