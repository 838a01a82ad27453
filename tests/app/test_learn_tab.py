"""What is said of a draft, and masks that are painted."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ti_trainer.app.learn_tab import describe, mask_of
from ti_trainer.app.studio import Look


def test_what_is_said() -> None:
    assert describe(0, Look(None, [], []), []).startswith("Some 5 to 20 pictures")
    said = describe(1, Look(None, ["no <b>"], ["a note"]), ["b.png is none"])
    assert said.split("\n\n") == [
        "1 picture",
        "**Not taken**\n- b\\.png is none",
        "**To be mended**\n- no &lt;b&gt;",
        "**Notes**\n- a note",
    ]


def test_a_painted_mask() -> None:
    """White where somebody has painted, whatever the colour and however thin."""
    layer = Image.new("RGBA", (6, 4))
    layer.paste((10, 20, 30, 40), (1, 1, 3, 3))
    mask = mask_of({"layers": [layer], "background": None})
    assert mask is not None
    wanted = np.zeros((4, 6), dtype=np.uint8)
    wanted[1:3, 1:3] = 255
    assert np.array_equal(np.asarray(mask), wanted)
    for nothing in (None, {"layers": []}, {"layers": [Image.new("RGBA", (6, 4))]}):
        assert mask_of(nothing) is None
