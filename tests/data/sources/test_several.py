"""Pictures that are named one by one, by patterns, or in several places."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ti_trainer.config.concept import Concept
from ti_trainer.config.settings import config_from_mapping, config_to_mapping
from ti_trainer.data.scanning import load_examples
from ti_trainer.data.sources.several import find_all
from ti_trainer.errors import BadInput
from ti_trainer.files.reach import Reach


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders: a.png with a caption and a mask, b.jpg; c.png."""
    for name in ("one/a.png", "one/b.jpg", "two/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.linear_gradient("L").resize((32, 24)).save(tmp_path / name)
    Image.new("L", (32, 24), 255).save(tmp_path / "one" / "a.mask.png")
    (tmp_path / "one" / "a.txt").write_text("a {token} at home")
    return tmp_path


def names(sources: list[str], reach: Reach | None = None) -> list[str]:
    findings = find_all(sources, reach=reach) if reach else find_all(sources)
    return [Path(found.picture.name).name for found in findings.found]


def test_files_with_what_lies_beside_them(photos: Path) -> None:
    sources = (str(photos / "two" / "c.png"), str(photos / "one" / "a.png"))
    examples, _ = load_examples(Concept("<my-cat>", sources), False)
    assert [Path(each.picture.name).name for each in examples] == ["c.png", "a.png"]
    assert examples[1].captions == ("a {token} at home",)
    assert examples[1].mask is not None
    assert examples[0].mask is None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("one/*", ["a.png", "b.jpg"]),
        ("*/*.png", ["a.png", "c.png"]),
        ("**/*.jpg", ["b.jpg"]),
        ("one/[bx].jpg", ["b.jpg"]),
    ],
)
def test_patterns(photos: Path, pattern: str, found: list[str]) -> None:
    """Of masks and captions none is taken for a picture."""
    assert names([str(photos / pattern)]) == found


def test_a_folder_whose_name_looks_like_a_pattern(photos: Path) -> None:
    (photos / "one").rename(photos / "[one]")
    assert names([str(photos / "[one]")]) == ["a.png", "b.jpg"]


def test_several_folders(photos: Path) -> None:
    """A picture that two of them have comes once."""
    sources = [str(photos / "one"), str(photos / "two"), str(photos / "one" / "*.png")]
    assert names(sources) == ["a.png", "b.jpg", "c.png"]


def test_a_pattern_that_matches_nothing(photos: Path) -> None:
    with pytest.raises(BadInput, match=r'^images=".*one/\*\.gif" matches no picture; give a folder'):
        names([str(photos / "one" / "*.gif")])


@pytest.mark.parametrize("pattern", ["two/*.png", "one/*/../../two/*.png", "one/../two/*"])
def test_a_row_of_a_list_may_not_look_elsewhere(photos: Path, pattern: str) -> None:
    reach = Reach.within([photos / "one"])
    assert names([str(photos / "one" / "*.jpg")], reach) == ["b.jpg"]
    with pytest.raises(BadInput, match=r"leads out of the folders|has \.\. in it"):
        names([str(photos / pattern)], reach)


def test_a_match_that_is_a_link_out(photos: Path) -> None:
    (photos / "one" / "x.png").symlink_to(photos / "two" / "c.png")
    found = find_all([str(photos / "one" / "*.png")], reach=Reach.within([photos / "one"])).found
    with pytest.raises(BadInput, match="leads out of the folders"):
        found[-1].picture.read()


def test_one_is_written_as_one(photos: Path) -> None:
    for images, written in ((("a", "b"), ["a", "b"]), (("a",), "a")):
        config = config_from_mapping({"token": "<my-cat>", "images": list(images), "model": "tiny-sd"})
        assert config.concept.images == images
        assert config_to_mapping(config)["images"] == written
