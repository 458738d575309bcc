"""Sources: how often training draws clips of each, and what is told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.walker import clip, person

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.sources import licences, source_rows
from mixsynth_stream.data.windows import WindowSampler
from mixsynth_stream.errors import SourceError
from mixsynth_stream.presets import shipped_config

CONFIG: ModelConfig = shipped_config("image", 10)
CLIPS = [
    replace(clip(person(400), "anna"), source="dance", licence="CC0"),
    replace(clip(person(400), "ben"), source="dance", licence="MIT"),
    replace(clip(person(400), "ben"), source="climbing"),
]


def test_a_weight_changes_how_often_a_source_is_drawn() -> None:
    plain = WindowSampler(CLIPS, CONFIG, "image", seed=0)
    np.testing.assert_allclose(plain.chances, 1 / 3)
    weighted = WindowSampler(CLIPS, CONFIG, "image", seed=0, source_weights={"climbing": 4.0})
    np.testing.assert_allclose(weighted.chances, [1 / 6, 1 / 6, 4 / 6])
    drawn = weighted.draw(600).clip
    assert 0.6 < (drawn == 2).mean() < 0.73
    without = WindowSampler(CLIPS, CONFIG, "image", seed=0, source_weights={"dance": 0.0})
    assert set(without.draw(64).clip) == {2}


def test_weights_of_unknown_sources_and_of_none_at_all_are_refused() -> None:
    with pytest.raises(
        SourceError, match="no clip is of the source 'danse' to weigh; the clips are of climbing, dance"
    ):
        WindowSampler(CLIPS, CONFIG, "image", seed=0, source_weights={"danse": 2.0})
    with pytest.raises(ValueError, match=r"all sources have the weight 0 \(climbing, dance\)"):
        WindowSampler(CLIPS, CONFIG, "image", seed=0, source_weights={"dance": 0.0, "climbing": 0.0})


def test_a_row_names_minutes_people_licences_and_the_share_of_windows() -> None:
    assert source_rows(CLIPS, np.array([0.5, 0.2, 0.3])) == [
        ["source", "clips", "people", "minutes", "windows", "licence"],
        ["dance", "2", "2", "0.4", "70.0 %", "CC0; MIT"],
        ["climbing", "1", "1", "0.2", "30.0 %", "not stated"],
    ]
    assert licences(CLIPS) == "CC0; MIT; not stated"
