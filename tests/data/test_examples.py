from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.three_pictures import encoded, load
from ti_trainer.config.concept import Concept
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.data.examples import start_of
from ti_trainer.errors import BadInput
from ti_trainer.files.reach import EVERYWHERE, Reach


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


def test_a_file_to_start_from_is_judged_with_those_beside_it(tmp_path: Path) -> None:
    """`read_embedding` opens NAME_2 too."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "secret.pt").touch()
    (folder / "a.pt").touch()
    concept = Concept("<x>", init=f"file:{folder}/a.pt", reach=Reach.within([folder]))
    assert start_of(concept).init == f"file:{folder}/a.pt"
    (folder / "a_2.pt").symlink_to(tmp_path / "secret.pt")
    with pytest.raises(BadInput, match=r"a_2\.pt leads out of the folders"):
        start_of(concept)
    named = replace(concept, reach=Reach.within([tmp_path / "lists", folder / "a.pt"]))
    assert start_of(named).init == concept.init  # whoever trains names the file
    assert start_of(replace(concept, reach=EVERYWHERE)).init == concept.init
    assert start_of(Concept("<x>", init="a cat")).init == "a cat"
