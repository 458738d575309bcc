"""The rasteriser: lines, discs, dashes, text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixsynth_stream.draw.canvas import Canvas, Casing, Sticker
from mixsynth_stream.draw.capsules import dashes
from mixsynth_stream.draw.font import line_height, text_mask, text_width

WHITE = (255, 255, 255)
inside = st.tuples(st.floats(25, 95), st.floats(25, 75))
anywhere = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


def blank(width: int = 120, height: int = 100, value: int = 0) -> Canvas:
    return Canvas(np.full((height, width, 3), value, np.uint8))


def covered(canvas: Canvas) -> float:
    """Pixels covered by white on black."""
    return float(canvas.rgb[..., 0].sum()) / 255


@given(start=inside, end=inside, width=st.floats(2, 30))
def test_a_line_covers_its_area(start, end, width):
    canvas = blank()
    canvas.strokes(np.array([start]), np.array([end]), WHITE, width)
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    area = length * width + np.pi * width**2 / 4
    assert covered(canvas) == pytest.approx(area, rel=0.03, abs=1.5)


@given(start=anywhere, end=anywhere, width=st.floats(0.5, 60))
def test_lines_may_leave_the_picture(start, end, width):
    """Every pixel has the value that its own distance from the line gives it, wherever the line comes from."""
    canvas = blank(40, 30)
    canvas.strokes(np.array([start]), np.array([end]), WHITE, width)
    y, x = np.mgrid[:30, :40]
    points = np.stack([x, y], -1).astype(float)
    vector = np.subtract(end, start)
    share = np.clip((points - start) @ vector / max(vector @ vector, 1e-12), 0, 1)
    distance = np.linalg.norm(points - start - share[..., None] * vector, axis=-1)
    expected = np.clip(width / 2 - distance + 0.5, 0, 1) * 255
    np.testing.assert_allclose(canvas.rgb[..., 1], expected, atol=2)


def test_far_away_and_unknown_ends_draw_nothing():
    canvas = blank()
    far = np.array([[np.nan, 5.0], [1e7, 1e7], [5.0, np.inf]])
    canvas.strokes(far, far + 1, WHITE, 5)
    canvas.strokes(np.zeros((0, 2)), np.zeros((0, 2)), WHITE, 5)
    assert covered(canvas) == 0


def test_translucent_lines_of_one_layer_do_not_add_up():
    start, end = np.array([[10.0, 50], [60, 10]]), np.array([[110.0, 50], [60, 90]])
    canvas = blank()
    canvas.strokes(start, end, WHITE, 8, opacity=0.5)
    assert canvas.rgb[50, 60, 0] == canvas.rgb[50, 30, 0] == 128
    again = blank()
    again.strokes(start[::-1], end[::-1], WHITE, 8, opacity=0.5)
    np.testing.assert_array_equal(canvas.rgb, again.rgb)


def test_each_stroke_has_its_color_and_rim():
    canvas = blank(value=90)
    canvas.discs(np.array([[30.0, 50], [80, 50]]), np.array([(255, 0, 0), (0, 0, 255)]), 20, casing=Casing(5, WHITE))
    assert canvas.rgb[50, 30].tolist() == [255, 0, 0] and canvas.rgb[50, 80].tolist() == [0, 0, 255]
    assert canvas.rgb[50, 30 + 12].tolist() == [255, 255, 255]
    assert canvas.rgb[50, 30 + 17].tolist() == [90, 90, 90]


def test_dashes_begin_and_end_with_the_line():
    start, end, line = dashes(np.array([[0.0, 0], [np.nan, 0], [0, 10]]), np.array([[100.0, 0], [5, 5], [0, 12]]), 8, 6)
    assert set(line.tolist()) == {0, 2}
    first = line == 0
    assert start[first][0].tolist() == [0, 0] and end[first][-1].tolist() == [100, 0]
    gaps = start[first][1:, 0] - end[first][:-1, 0]
    np.testing.assert_allclose(gaps, 6, atol=1e-9)
    assert (line == 2).sum() == 1, "a line shorter than a dash is one dash"
    np.testing.assert_allclose(end[line == 2], [[0, 12]])


def test_text_stands_at_its_place():
    canvas = blank(200, 60)
    canvas.text(100, 30, "filled", 14, WHITE, anchor="middle")
    rows, columns = np.nonzero(canvas.rgb[..., 0] > 100)
    assert abs((columns.min() + columns.max()) / 2 - 100) < 3 and abs((rows.min() + rows.max()) / 2 - 30) < 4
    assert columns.max() - columns.min() <= text_width("filled", 14)
    assert text_width("filled filled", 14) > 2 * text_width("filled", 14) > 50
    assert line_height(28) > 1.7 * line_height(14)


def test_text_may_leave_the_picture_and_hold_any_character():
    canvas = blank(50, 20)
    for x, y in ((-20, 5), (45, 18), (-500, 5), (10, 900)):
        canvas.text(x, y, "demo ✂ 跑", 16, WHITE)
    assert text_mask("✂", 16).max() > 0.5, "a character without a glyph shows as a box"
    with pytest.raises(ValueError, match="left, middle or right"):
        canvas.text(0, 0, "x", 10, WHITE, anchor="top")


def test_a_sticker_looks_like_its_drawing():
    def draw(canvas: Canvas) -> None:
        canvas.box(0, 0, 60, 30, (0, 0, 0), 0.5)
        canvas.strokes(np.array([[5.0, 15]]), np.array([[40.0, 20]]), (0, 255, 0), 4, opacity=0.7)
        canvas.text(8, 15, "ahead", 12, WHITE)

    background = np.random.default_rng(1).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    drawing, copy = Canvas(background.copy()), Canvas(np.pad(background, ((5, 5), (7, 7), (0, 0))))
    draw(drawing)
    copy.stick(Sticker.of(60, 30, draw), 7, 5)
    np.testing.assert_allclose(copy.rgb[5:35, 7:67].astype(int), drawing.rgb, atol=3)


def test_only_pictures_can_be_drawn_on():
    for array in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 8, 3), np.uint8)[:, ::2]):
        with pytest.raises(ValueError, match=r"contiguous \[H, W, 3\] uint8"):
            Canvas(array)
