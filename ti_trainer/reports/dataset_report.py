"""A report on what training would see of a concept's pictures and captions, without loading a model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config.concept import Concept
from ..config.config import TrainConfig
from ..data.checks import (
    CaptionReading,
    SmallPicture,
    missed_subject,
    read_captions,
    resolution_problem,
    small_pictures,
    token_problem,
)
from ..data.examples import Example, start_of
from ..data.geometry import Box, Framing, View, mask_weights, subject_box
from ..data.masks import read_mask
from ..data.scanning import Progress, Scan, scan
from ..families.facts import read_model_facts
from ..files.wording import flag, listing
from ..method.initializers import count_rows
from ..method.tokens import ROW, fill


@dataclass(frozen=True)
class PictureRow:
    """What training would see of one picture."""

    name: str
    size: tuple[int, int]  # width, height
    shown: tuple[int, int]  # width, height at which training shows it: the size of its bucket
    boxes: tuple[Box, ...]  # the parts of it that are shown
    captions: tuple[str, ...]  # with the token filled in
    tokens: int  # of the longest caption, counting each row of the concept
    has_token: bool  # every caption mentions the token, and the model reads all of its rows
    repeats: int
    weight: float
    mask: bool
    is_class: bool
    is_duplicate: bool  # another picture is the same, or looks the same


@dataclass(frozen=True)
class DatasetReport:
    """The pictures of a concept, and lines about them; with problems, training would refuse to start."""

    token: str
    resolution: int
    window: int  # tokens of a caption that the model reads
    pictures: tuple[PictureRow, ...]
    own_captions: int  # pictures that came with a caption
    refused: tuple[str, ...]  # lines about pictures that cannot be used
    problems: tuple[str, ...]
    duplicates: tuple[str, ...]
    notes: tuple[str, ...]


def report_dataset(
    config: TrainConfig, progress: Progress = lambda things, count: things
) -> tuple[DatasetReport, list[Example]]:
    """The report on the only concept of a config, and its examples in the order of the report's pictures.

    Of the model, only the tokenizer is loaded. Raises BadInput where there is nothing to report on, or where the
    embedding file that the rows start from cannot be read.
    """
    concept = config.concept
    found = scan(concept, progress)
    facts = read_model_facts(config)
    resolution = config.resolution or facts.spec.resolution
    bucket_step = facts.spec.bucket_step if config.buckets else None
    framing = Framing(resolution, bucket_step, config.crop, config.crops, seed=config.seed)
    facts.tokenizer.add_tokens([ROW])
    rows = count_rows(start_of(concept), facts.tokenizer)
    readings = read_captions(concept, found.examples, facts.tokenizer, facts.window, rows, config.long_captions)
    pictures = []
    missed: list[str] = []
    for number, example in enumerate(found.examples):
        mask = read_mask(example) if config.mask_background < 1 or config.crop == "subject" else None
        views = framing.views(example.size, subject_box(mask) if mask else None, concept.token, number)
        is_duplicate = number in found.duplicates.numbers
        pictures.append(picture_row(example, views, concept.token, readings, is_duplicate))
        if mask and config.mask_background < 1:
            unit = facts.spec.pixels_per_latent
            weights = [mask_weights(mask, view, unit, config.mask_background) for view in views]
            missed += missed_subject(example.picture.name, weights, config.mask_background)
    refused = [
        token_problem(concept, facts.tokenizer, facts.spec.slots[0].kind.name),
        resolution_problem(resolution, facts.spec.pixels_per_latent),
    ]
    report = DatasetReport(
        token=concept.token,
        resolution=resolution,
        window=facts.window,
        pictures=tuple(pictures),
        own_captions=found.own_captions,
        refused=tuple(found.bad_pictures),
        problems=(*filter(None, refused), *problems_of(concept, found, pictures, facts.window)),
        duplicates=tuple(found.duplicates.notes([picture.name for picture in pictures])),
        notes=(*found.notes, *enlarged_note(small_pictures(found.examples, framing)), *missed),
    )
    return report, found.examples


def picture_row(
    example: Example, views: Sequence[View], token: str, readings: Mapping[str, CaptionReading], is_duplicate: bool
) -> PictureRow:
    """What training would see of an example; readings: by caption."""
    own = [readings[caption] for caption in example.captions]
    return PictureRow(
        name=example.picture.name,
        size=example.size,
        shown=views[0].size,
        boxes=tuple(dict.fromkeys(view.box for view in views)),
        captions=tuple(fill(caption, token) for caption in example.captions),
        tokens=max(reading.tokens for reading in own),
        has_token=all(reading.has_rows for reading in own),
        repeats=example.repeats,
        weight=example.weight,
        mask=example.mask is not None,
        is_class=example.is_class,
        is_duplicate=is_duplicate,
    )


def problems_of(concept: Concept, found: Scan, pictures: Sequence[PictureRow], window: int) -> list[str]:
    """Lines about everything that would make training refuse to start."""
    without = [picture.name for picture in pictures if not picture.has_token]
    lines = [*found.bad_pictures, *found.bad_captions]
    if without:
        lines.append(
            f"captions without {concept.token}, or with it behind the {window} tokens that the model reads: "
            f"{listing(without)}; write {concept.token} in them, put it first, or add {flag('add_token', True)}"
        )
    return lines


def enlarged_note(small: Sequence[SmallPicture]) -> list[str]:
    """A line about pictures that are smaller than what is shown of them, or none."""
    if not small:
        return []
    return [f"smaller than what is shown of them, and enlarged: {listing([each.name for each in small])}"]


def report_text(report: DatasetReport) -> str:
    """The report as a table for a person."""
    own = [picture for picture in report.pictures if not picture.is_class]
    lines = [f"{report.token} at {report.resolution} pixels", ""]
    header = ("picture", "pixels", "shown at", "times", "mask", "tokens", "caption")
    cells = [header, *(table_cells(picture) for picture in report.pictures)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    for row in cells:
        lines.append("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
    captions = len({caption for picture in own for caption in picture.captions})
    totals = {
        "pictures": f"{len(own)}, {sum(picture.repeats for picture in own)} with repeats",
        "of the class": f"{len(report.pictures) - len(own)}",
        "sizes": sizes_text([picture.size for picture in report.pictures]),
        "shown at": sizes_text([picture.shown for picture in report.pictures]),
        "captions": f"{captions} different; {counted(report.own_captions, 'picture')} with their own",
        "with the token": f"{sum(picture.has_token for picture in report.pictures)} of {len(report.pictures)}",
        "longest caption": f"{max((p.tokens for p in report.pictures), default=0)} of {report.window} tokens",
        "masks": f"{sum(picture.mask for picture in report.pictures)}",
    }
    lines += ["", *(f"{name:16} {value}" for name, value in totals.items())]
    for title, found in (("problem", report.problems), ("duplicates", report.duplicates), ("note", report.notes)):
        lines += [f"{title}: {line}" for line in found]
    return "\n".join(lines)


def table_cells(picture: PictureRow) -> tuple[str, ...]:
    """The cells of a picture's line, in the order of the header of `report_text`."""
    first = picture.captions[0] + (f"  (and {len(picture.captions) - 1} more)" if len(picture.captions) > 1 else "")
    return (
        picture.name,
        f"{picture.size[0]} x {picture.size[1]}",
        f"{picture.shown[0]} x {picture.shown[1]}",
        f"{picture.repeats}" + (f" at {picture.weight:g}" if picture.weight != 1 else ""),
        "yes" if picture.mask else "",
        f"{picture.tokens}" + ("" if picture.has_token else " !"),
        first,
    )


def sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    """The most frequent sizes and how often they occur: "3 of 64 x 64, 1 of 80 x 40"."""
    frequent = Counter(sizes).most_common()
    return listing([f"{count} of {width} x {height}" for (width, height), count in frequent])


def report_json(report: DatasetReport) -> str:
    """The report as one line of JSON."""
    return json.dumps(asdict(report), ensure_ascii=False)


def short_form(examples: Sequence[Example]) -> str:
    """What a run prints about its pictures: "5 pictures of 64 x 64, 20 captions"."""
    own = [example for example in examples if not example.is_class]
    sizes = sorted({example.size for example in own}, key=lambda size: size[0] * size[1])
    shape = " to ".join(f"{width} x {height}" for width, height in dict.fromkeys([sizes[0], sizes[-1]]))
    captions = {caption for example in own for caption in example.captions}
    parts = [counted(len(own), "picture") + f" of {shape}", counted(len(captions), "caption")]
    extras: dict[str, Any] = {
        "mask": sum(example.mask is not None for example in own),
        "picture of the class": len(examples) - len(own),
    }
    return ", ".join([*parts, *(counted(count, name) for name, count in extras.items() if count)])


def counted(count: int, name: str) -> str:
    """1, "picture of the class" -> "1 picture of the class"; 2 -> "2 pictures of the class"."""
    head, space, tail = name.partition(" ")
    return f"{count} {head}{'s' * (count != 1)}{space}{tail}"
