"""Pictures in a URL are the pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ti_trainer.reports.inline_pictures import data_uri


def decoded(uri: str) -> Image.Image:
    head, _, text = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize(("size", "shown", "kind"), [((64, 32), (64, 32), "PNG"), ((400, 200), (256, 128), "JPEG")])
def test_small_ones_are_exact_and_large_ones_small(size: tuple[int, int], shown: tuple[int, int], kind: str) -> None:
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    image = Image.fromarray(np.stack([np.broadcast_to(across, size[::-1])] * 3, axis=-1))
    found = decoded(data_uri(image, 256))
    assert (found.size, found.format) == (shown, kind)
    wanted = np.asarray(image.resize(shown)).astype(int)
    assert np.abs(np.asarray(found.convert("RGB")) - wanted).max() <= (0 if kind == "PNG" else 12)
