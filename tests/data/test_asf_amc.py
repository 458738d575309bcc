"""ASF/AMC files: ends of bones in metres, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.recordings import STANDING, bent_hand, write_asf_amc

from mixsynth_stream.data.asf_amc import read_asf_amc
from mixsynth_stream.errors import SourceError


def test_asf_and_amc_give_the_ends_of_the_bones(tmp_path: Path) -> None:
    sequence = read_asf_amc(*write_asf_amc(tmp_path))
    assert (sequence.subject, sequence.rate_hz) == ("07", 120.0)
    np.testing.assert_allclose(sequence.at("ltibia")[0], STANDING["LeftFoot"][1], atol=1e-5)
    np.testing.assert_allclose(sequence.at("lradius"), bent_hand(), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda asf, amc: (asf, amc.replace("lradius -4.0", "lradius -4.0 1", 1)), "does not fit"),
        (lambda asf, amc: (asf, amc.replace("lradius -4.0\n", "", 1)), "no line for lradius"),
        (lambda asf, amc: (asf.replace(":hierarchy", ":hier"), amc), "no :hierarchy"),
        (lambda asf, amc: (asf.replace("length 0.45", "length long"), amc), "damaged"),
        (lambda asf, amc: (asf, "tail 1 2 3\n"), "does not fit"),
        (lambda asf, amc: (asf, ":DEGREES\n"), "no frames"),
        (lambda asf, amc: (asf, amc.replace(":DEGREES", ":RADIANS")), "holds radians"),
    ],
)
def test_damaged_asf_and_amc_are_refused_in_a_sentence(tmp_path: Path, change: object, says: str) -> None:
    skeleton, motion = write_asf_amc(tmp_path)
    texts = change(skeleton.read_text(), motion.read_text())  # type: ignore[operator]
    for path, text in zip((skeleton, motion), texts, strict=True):
        path.write_text(text)
    with pytest.raises(SourceError, match=says):
        read_asf_amc(skeleton, motion)
