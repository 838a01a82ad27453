"""Pictures that somebody drops: copies under names of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import ti_trainer.app.draft
from ti_trainer import BadInput
from ti_trainer.app.draft import Draft
from ti_trainer.data.captions import LONGEST_CAPTION
from ti_trainer.files.reach import Reach


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "draft")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("ä cat.png", "red"), ("b.jpg", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "b.txt").write_text("a {token}\n in a garden")
    Image.new("L", (40, 30), 255).save(folder / "b.mask.png")
    (folder / "letter.png").write_text("Dear cat,")
    (folder / "notes.pdf").write_text("")
    return folder


def test_what_is_dropped(draft: Draft, photos: Path) -> None:
    problems = draft.add(sorted(photos.iterdir()))
    assert problems == ["letter.png is not a picture that Pillow can read; save it as JPEG or PNG"]
    assert draft.captions() == [("0001.jpg", "a {token} in a garden"), ("0002.png", "")]
    assert draft.names() == {"0001.jpg": "b.jpg", "0002.png": "ä cat.png"}
    assert sorted(path.name for path in draft.folder.iterdir()) == [
        *("0001.jpg", "0001.mask.png", "0001.txt", "0002.png", "names.json")
    ]
    assert (draft.folder / "0001.jpg").read_bytes() == (photos / "b.jpg").read_bytes()
    draft.add([photos / "b.jpg"])
    assert [path.name for path in draft.pictures()] == ["0001.jpg", "0002.png", "0003.jpg"]


def test_a_name_never_becomes_a_path(draft: Draft, tmp_path: Path) -> None:
    for name in ("..\\..\\x.png", "-rf.png", "a;b$(c).png", ".hidden.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        assert draft.add([tmp_path / name]) == []
    assert [path.name for path in draft.pictures()] == [f"{number:04d}.png" for number in range(1, 5)]
    assert draft.names()["0001.png"] == "..\\..\\x.png"


def test_there_is_a_most(draft: Draft, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ti_trainer.app.draft, "MOST_PICTURES", 2)
    with pytest.raises(BadInput, match="3 pictures are too many for this page, which takes 2"):
        draft.add(sorted(photos.iterdir()))
    assert draft.pictures() == []


def test_captions_and_masks(draft: Draft, photos: Path) -> None:
    draft.add([photos / "b.jpg"])
    draft.caption("0001.jpg", " a  {token}\nhere ")
    assert draft.captions() == [("0001.jpg", "a {token} here")]
    draft.caption("0001.jpg", "")
    assert draft.captions() == [("0001.jpg", "")]
    with pytest.raises(BadInput, match="a caption has 10,001 letters, and at most 10,000"):
        draft.caption("0001.jpg", "x" * (LONGEST_CAPTION + 1))
    mask = draft.folder / "0001.mask.png"
    draft.upload_mask("0001.jpg", photos / "b.mask.png")
    with Image.open(mask) as kept:
        assert (kept.mode, kept.getextrema()) == ("L", (255, 255))
    draft.mask("0001.jpg", None)
    assert not mask.exists()
    with pytest.raises(BadInput, match=r"letter\.png is not a picture"):
        draft.upload_mask("0001.jpg", photos / "letter.png")
    assert draft.image("0001.jpg").size == (40, 30)


@pytest.mark.parametrize("name", ["../draft/0001.jpg", "/etc/passwd", "0002.jpg", "names.json", ""])
def test_only_its_own_pictures(draft: Draft, photos: Path, name: str) -> None:
    draft.add([photos / "b.jpg"])
    for action in (
        draft.remove,
        draft.image,
        lambda each: draft.caption(each, "x"),
        lambda each: draft.mask(each, None),
    ):
        with pytest.raises(BadInput, match=r"there is no picture .*; choose one of 0001\.jpg"):
            action(name)


def test_removing(draft: Draft, photos: Path) -> None:
    draft.add(sorted(photos.iterdir()))
    draft.remove("0001.jpg")
    assert sorted(path.name for path in draft.folder.iterdir()) == ["0002.png", "names.json"]
    draft.clear()
    assert (draft.pictures(), draft.captions(), draft.names()) == ([], [], {})
    draft.clear()


def test_a_folder(draft: Draft, photos: Path, tmp_path: Path) -> None:
    """Within the roots only, wherever its links lead."""
    reach = Reach.within([photos])
    assert draft.add_folder(f" {photos} ", reach) == [
        "letter.png is not a picture that Pillow can read; save it as JPEG or PNG"
    ]
    assert len(draft.pictures()) == 2
    secret = tmp_path / "secret"
    secret.mkdir()
    Image.new("RGB", (9, 9)).save(secret / "a.png")
    with pytest.raises(BadInput, match="leads out of the folders"):
        draft.add_folder(str(secret), reach)
    (photos / "link.png").symlink_to(secret / "a.png")
    with pytest.raises(BadInput, match="leads out of the folders"):
        draft.add_folder(str(photos), reach)
    (photos / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no pictures"):
        draft.add_folder(str(photos / "empty"), reach)
    with pytest.raises(BadInput, match="is not a folder"):
        draft.add_folder(str(photos / "b.jpg"), reach)
