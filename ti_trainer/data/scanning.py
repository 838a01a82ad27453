"""From pictures and captions on disk to examples: every picture is decoded once, before a model is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import ImageColor

from ..config.bundled import resolve
from ..config.concept import MASK_MODES, Bounds, Concept
from ..errors import BadInput, Refused
from ..files.reach import Reach
from ..files.reading import CAPTION
from ..files.text import read_text
from ..files.wording import flag, listing, printable, shorten
from .captions import TEMPLATES, checked_length, choose_captions, load_templates, words_of_file
from .duplicates import Duplicates, Fingerprint, find_duplicates, fingerprint
from .examples import Example, MaskSource
from .images import ROOM, Decoded, Picture, on_ground, open_picture
from .masks import upright_mask
from .oddities import oddities
from .sources.folders import Found, find_mask, find_masks
from .sources.lists import Columns
from .sources.several import find_all

SCAN_PIXELS = 512  # a JPEG is decoded this small, which is enough to look at it and still reads all of its data
MOST_WORKERS = 8  # threads: Pillow decodes without holding Python's global lock

# From things, and how many there are, to the same things one after the other, with a progress bar.
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass
class Scan:
    """The examples of a concept, and lines for the user about what was found."""

    examples: list[Example] = field(default_factory=list)
    own_captions: int = 0  # how many pictures came with a caption
    bad_pictures: list[str] = field(default_factory=list)
    bad_captions: list[str] = field(default_factory=list)
    duplicates: Duplicates = field(default_factory=Duplicates)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """What is known of a picture after it was decoded."""

    example: Example  # without captions
    fingerprint: Fingerprint
    notes: tuple[str, ...]
    odd: tuple[str, ...]  # what is odd about what it shows


def load_examples(
    concept: Concept, skip_bad_images: bool, progress: Progress = lambda things, count: things
) -> tuple[list[Example], list[str]]:
    """A concept's examples, those of its class at the end, and lines for the user: what was left out, what looks wrong.

    Raises BadInput for captions that cannot be read, for damaged pictures and masks unless they are to be skipped, and
    when no picture is left.
    """
    result = scan(concept, progress)
    usable = any(not example.is_class for example in result.examples)
    if result.bad_pictures and not (skip_bad_images and usable):
        cure = f"mend or remove it, or add {flag('skip_bad_images', True)}" if usable else "not one picture can be used"
        raise BadInput("\n".join([*shorten(result.bad_pictures), cure]))
    if result.bad_captions:
        raise BadInput("\n".join(shorten(result.bad_captions)))
    left_out = [f"left out: {problem}" for problem in result.bad_pictures]
    duplicates = result.duplicates.notes([example.picture.name for example in result.examples])
    return result.examples, [*shorten(left_out), *shorten(duplicates), *shorten(result.notes)]


def scan(concept: Concept, progress: Progress = lambda things, count: things) -> Scan:
    """Everything about a concept's pictures and captions, with what is wrong with them.

    Raises BadInput when there are no pictures at all, or when a setting is wrong.
    """
    check_colour(concept.alpha_color)
    reach = concept.reach
    is_ours = concept.templates in TEMPLATES
    templates = load_templates(concept.templates if is_ours else str(reach.resolve(concept.templates)))
    result = Scan()
    prints: list[Fingerprint] = []
    columns = Columns(concept.image_column, concept.caption_column)
    sources = [(concept, "images", concept.images, columns, False)]
    if concept.class_images is not None:
        sources.append((replace(concept, masks="none"), "class_images", (concept.class_images,), Columns(), True))
    for settings, setting, images, named, is_class in sources:
        folder = None if settings.masks in MASK_MODES else settings.masks
        findings = find_all(list(map(resolve, images)), named, folder, setting, reach)
        result.notes += findings.notes
        check_count(len(findings.found), setting, concept.bounds)
        masks = find_masks(folder, reach) if folder else {}
        looks = look_at_all(findings.found, settings, masks, progress)
        for found, look in zip(findings.found, looks, strict=True):
            if isinstance(look, str):
                result.bad_pictures.append(look)
                continue
            words = words_of_file(found.place.stem)
            try:
                own = () if is_class or concept.captions == "filename" else own_captions(found, reach)
                captions = choose_captions(concept, own, words, templates, is_class)
            except BadInput as problem:
                result.bad_captions.append(str(problem))
                own = ()
                captions = choose_captions(concept, own, words, templates, is_class)
            weight = concept.class_weight if is_class else 1.0
            result.examples.append(replace(look.example, captions=captions, weight=weight, is_class=is_class))
            result.own_captions += bool(own)
            result.notes += look.notes
            prints.append(look.fingerprint)
        result.notes += oddity_notes([look for look in looks if isinstance(look, Look)])
        result.notes += mask_notes([e for e in result.examples if e.is_class == is_class], settings.masks)
    result.duplicates = find_duplicates(prints)
    return result


def look_at_all(
    found: list[Found], concept: Concept, in_folder: Mapping[str, Path], progress: Progress
) -> list[Look | str]:
    """For each picture a Look, or a line that says why it cannot be used; several are decoded at a time."""

    def attempt(each: Found) -> Look | str:
        try:
            return look_at(each, concept, in_folder)
        except BadInput as problem:
            return str(problem)

    with ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
        try:
            return list(progress(pool.map(attempt, found), len(found)))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for thousands of pictures
            raise


def look_at(found: Found, concept: Concept, in_folder: Mapping[str, Path]) -> Look:
    """Decode a picture and, after it, its mask; raises BadInput when one of them cannot be used."""
    look = look_without_mask(found, concept, in_folder)
    example = look.example
    if not example.mask:
        return look
    mask = upright_mask(example, example.mask)
    if mask.size == example.size:
        return look
    own, whole = (f"{width} x {height}" for width, height in (mask.size, example.size))
    note = f"{example.mask.picture.name} is {own} and will be scaled to {whole}"
    return replace(look, notes=(*look.notes, note))


def look_without_mask(found: Found, concept: Concept, in_folder: Mapping[str, Path]) -> Look:
    """Decode a picture when there is room for it; nothing of its pixels is kept."""
    opened = open_picture(found.picture, at_least=SCAN_PIXELS)
    width, height = opened.size or opened.file.size
    most = concept.bounds.pixels
    if most is not None and width * height > most:
        raise Refused(f"{found.picture.name} has {width * height:,} pixels, and a row of a list may have {most:,}")
    with ROOM.take(opened.pixels):
        decoded = opened.decode()
        source = mask_source(found, decoded, concept, in_folder)
        example = Example(found.picture, (), decoded.size, found.repeats, mask=source, digest=decoded.digest)
        plain = on_ground(decoded.image, concept.alpha_color)
        return Look(example, fingerprint(decoded), decoded.notes, tuple(oddities(plain, decoded.size)))


def mask_source(found: Found, decoded: Decoded, concept: Concept, in_folder: Mapping[str, Path]) -> MaskSource | None:
    """Where the mask of a picture lies; None if it has none. in_folder: those of a folder of masks."""
    masks = concept.masks
    if masks == "alpha":
        seen = decoded.image.mode == "RGBA" and decoded.image.getchannel("A").getextrema()[0] != 255
        return MaskSource(found.picture, is_alpha=True) if seen else None
    beside = None if masks == "none" else found.mask_file
    path = beside if masks in MASK_MODES else find_mask(found, in_folder)
    return MaskSource(Picture.at(path, concept.reach)) if path else None


def oddity_notes(looks: Iterable[Look]) -> list[str]:
    """A line for each thing that is odd, with the pictures of which it is said."""
    said: dict[str, list[str]] = {}
    for look in looks:
        for words in look.odd:
            said.setdefault(words, []).append(look.example.picture.name)
    return [f"{words}: {listing(names)}" for words, names in said.items()]


def mask_notes(examples: list[Example], masks: str) -> list[str]:
    """A line about pictures without the mask that was asked for; raises BadInput when no picture has one."""
    without = [example.picture.name for example in examples if example.mask is None]
    if masks in ("auto", "model", "none") or not without:
        return []
    if len(without) == len(examples):
        cure = "save cut-out pictures as PNG" if masks == "alpha" else "name the masks like their pictures"
        raise BadInput(f"{flag('masks', masks)}: not one picture has such a mask; {cure}")
    return [f"no mask for {listing(without)}: learned whole"]


def own_captions(found: Found, reach: Reach) -> tuple[str, ...]:
    """The captions that came with a picture; raises BadInput for a file that is empty or no text, and for long ones."""
    if found.caption_file is None:
        return tuple(checked_length(text, found.picture.name) for text in found.captions)
    text = " ".join(read_text(reach.resolve(found.caption_file), CAPTION).split())
    if not text:
        file = printable(found.caption_file)
        raise BadInput(f"{file} is empty; write a caption with the token in it, or delete the file")
    return (checked_length(text, printable(found.caption_file)),)


def check_count(count: int, setting: str, bounds: Bounds) -> None:
    """Raises Refused for more pictures than there may be."""
    if bounds.pictures is not None and count > bounds.pictures:
        raise Refused(f"{setting} has {count:,} pictures, and a row of a list may have {bounds.pictures:,}")


def check_colour(name: str) -> None:
    """Raises BadInput for what is not an opaque colour."""
    try:
        opaque = len(ImageColor.getrgb(name)) == 3
    except ValueError:
        opaque = False
    if not opaque:
        raise BadInput(f"{flag('alpha_color')} is '{printable(name)}'; write a colour's name such as white, or #rrggbb")
