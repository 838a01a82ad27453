from __future__ import annotations

from pathlib import Path

import pytest

from tests.three_pictures import encoded, load
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.errors import BadInput


def test_pictures_of_the_class(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After the concept's own, at their weight, with the templates whatever their captions say."""
    others = tmp_path_factory.mktemp("others")
    (others / "x.png").write_bytes(encoded("black", (8, 8)))
    (others / "x.txt").write_text("a dog", encoding="utf-8")
    (folder / "0.txt").write_text("a {token}", encoding="utf-8")
    examples = load(folder, class_images=str(others), class_weight=0.25)
    assert [(e.is_class, e.weight, e.mask) for e in examples] == [(False, 1.0, None)] * 3 + [(True, 0.25, None)]
    assert [e.captions for e in examples] == [("a {token}",), *[TEMPLATES["object"]] * 3]
    with pytest.raises(BadInput, match='class_images="gone" does not exist'):
        load(folder, class_images="gone")
