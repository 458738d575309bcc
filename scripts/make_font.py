"""Make `font.npz`, the glyphs of the overlay and the plot, from DejaVu Sans.

The package draws with numpy alone, so this script draws the letters once with Pillow, and they ship as small grey
pictures in a few sizes. DejaVu Sans comes with matplotlib (licence: DEJAVU, derived from Bitstream Vera).

    python scripts/make_font.py            needs pillow and matplotlib
"""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mixsynth_stream.files import ASSETS, write_arrays

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
CHARACTERS = "".join(map(chr, range(32, 127))) + "°±·×–—…−µ→←↑↓�"
SIZES_PX = (10, 12, 14, 16, 18, 21, 24, 28, 34, 42)


def draw_size(font: ImageFont.FreeTypeFont) -> dict[str, np.ndarray]:
    """One strip with all glyphs side by side, each in a cell as high as a line and as wide as its own ink."""
    ascent, descent = font.getmetrics()
    cells, lefts, advances = [], [], []
    for character in CHARACTERS:
        left, _, right, _ = font.getbbox(character)
        cell = Image.new("L", (max(int(right - left), 1), ascent + descent), 0)
        ImageDraw.Draw(cell).text((-left, 0), character, fill=255, font=font)
        cells.append(np.asarray(cell))
        lefts.append(left)
        advances.append(font.getlength(character))
    return {
        "strip": np.concatenate(cells, axis=1),  # [line height, sum of widths] uint8
        "edges": np.cumsum([0] + [cell.shape[1] for cell in cells]).astype(np.int32),
        "left": np.array(lefts, np.int16),
        "advance": np.array(advances, np.float32),
        "ascent": np.array(ascent, np.int16),
    }


def main() -> None:
    arrays = {"characters": np.array(list(CHARACTERS)), "sizes_px": np.array(SIZES_PX, np.int16)}
    for size in SIZES_PX:
        glyphs = draw_size(ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), size))
        arrays |= {f"{name}_{size}": value for name, value in glyphs.items()}
    target = ASSETS / "font.npz"
    write_arrays(target, arrays)
    shutil.copyfile(FONTS / "LICENSE_DEJAVU", ASSETS / "font_LICENSE.txt")
    print(f"{target.name}: {len(CHARACTERS)} glyphs in {len(SIZES_PX)} sizes, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
