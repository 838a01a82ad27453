"""From what people bring to examples: every picture is decoded once, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from ..captions import load_templates
from ..config import Concept
from ..errors import BadInput
from .examples import Example
from .images import Picture, decode

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})


def find_pictures(folder: str) -> list[Path]:
    """The pictures in a folder, in the order of their names; raises BadInput when there are none."""
    root = Path(folder)
    if not root.exists():
        raise BadInput(f"--images {folder} does not exist; give a folder of pictures")
    if not root.is_dir():
        raise BadInput(f"--images {folder} is not a folder; give the folder that holds the pictures")
    paths = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise BadInput(f"--images {folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return paths


def load_examples(concept: Concept, folder: str, skip_bad_images: bool) -> tuple[list[Example], list[str]]:
    """A concept's examples, and a line about each picture left out.

    Every picture is decoded once, so that a damaged one is named before training and not in it. Raises BadInput for
    damaged pictures (unless they are to be skipped) and for caption files that cannot be read.
    """
    templates = load_templates(concept.templates)
    examples, problems = [], []
    for path in find_pictures(folder):
        try:
            size = decode(Picture.at(path), at_least=64).size
        except BadInput as problem:
            problems.append(str(problem))
            continue
        examples.append(Example(Picture.at(path), own_captions(path) or templates, size))
    if problems and not (skip_bad_images and examples):
        cure = "mend or remove it, or add --skip_bad_images" if examples else "not one picture can be used"
        raise BadInput("\n".join([*problems, cure]))
    return examples, problems


def own_captions(path: Path) -> tuple[str, ...] | None:
    """The caption in the text file beside a picture."""
    file = path.with_suffix(".txt")
    if not file.exists():
        return None
    try:
        text = " ".join(file.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"{file} cannot be read as UTF-8 text") from None
    if not text:
        raise BadInput(f"{file} is empty; write a caption with the token in it, or delete the file")
    return (text,)
