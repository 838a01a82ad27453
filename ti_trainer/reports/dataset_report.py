"""What training would see of a concept's pictures, before any model is loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config.config import Concept, TrainConfig
from ..data.captions import CaptionPolicy, longest_way_to_token
from ..data.examples import Example
from ..data.geometry import Box, Framing, View, subject_box
from ..data.masks import read_mask
from ..data.scanning import Progress, Scan, scan
from ..families.facts import ModelFacts, read_model_facts
from ..files.wording import listing
from ..method.crops import check_crop
from ..method.initializers import DEFAULT_VECTORS, word_ids
from ..method.tokens import ROW, expand, fill, mentions


@dataclass(frozen=True)
class PictureRow:
    """What training would see of one picture."""

    name: str
    size: tuple[int, int]  # width, height
    shown: tuple[int, int]  # width, height at which training shows it: its bucket's
    boxes: tuple[Box, ...]  # the parts that are shown
    captions: tuple[str, ...]  # with the token filled in
    tokens: int  # of the longest caption, counting each row of the concept
    has_token: bool  # in every caption, within the window
    repeats: int
    weight: float
    mask: bool
    is_class: bool


@dataclass(frozen=True)
class DatasetReport:
    """The pictures of a concept, and lines about them; training refuses to start while there are problems."""

    token: str
    resolution: int
    window: int  # tokens that the model reads
    pictures: tuple[PictureRow, ...]
    own_captions: int
    problems: tuple[str, ...]
    duplicates: tuple[str, ...]
    notes: tuple[str, ...]


def report_dataset(
    config: TrainConfig, progress: Progress = lambda things, count: things
) -> tuple[DatasetReport, list[Example]]:
    """The report on a config's only concept, and the examples that it is about, in the same order.

    Of the model, only the tokenizer is loaded. Raises BadInput where there is nothing to report on.
    """
    concept = config.concept
    check_crop(config.crop)
    found = scan(concept, progress)
    facts = read_model_facts(config)
    resolution = config.resolution or facts.spec.resolution
    bucket_step = facts.spec.bucket_step if config.buckets else None
    framing = Framing(resolution, bucket_step, config.crop, config.crops, seed=config.seed)
    facts.tokenizer.add_tokens([ROW])
    rows = count_rows(concept, facts)
    captions = {caption for example in found.examples for caption in example.captions}
    measured = {caption: measure(caption, config, facts, rows) for caption in captions}
    pictures = [
        picture_row(example, shown_views(config, example, framing, number), concept.token, measured)
        for number, example in enumerate(found.examples)
    ]
    report = DatasetReport(
        token=concept.token,
        resolution=resolution,
        window=facts.window,
        pictures=tuple(pictures),
        own_captions=found.own_captions,
        problems=tuple(problems_of(concept, found, pictures, facts.window)),
        duplicates=tuple(found.duplicates),
        notes=(*found.notes, *small_pictures(pictures)),
    )
    return report, found.examples


def shown_views(config: TrainConfig, example: Example, framing: Framing, number: int) -> list[View]:
    """What training shows of example `number` of the concept."""
    uses_mask = config.crop == "subject" or (config.crop == "random" and config.mask_background < 1)
    mask = read_mask(example) if uses_mask else None
    return framing.views(example.size, subject_box(mask) if mask else None, config.concept.token, number)


def count_rows(concept: Concept, facts: ModelFacts) -> int:
    """How many rows the concept will have; those of a file that it starts from are not counted."""
    if concept.tune:
        return len(word_ids(facts.tokenizer, concept.token))
    is_phrase = concept.init.partition(":")[0] not in ("auto", "random", "file")
    words = word_ids(facts.tokenizer, concept.init) if is_phrase else []
    return concept.num_vectors or (len(words) if len(words) > 1 else DEFAULT_VECTORS)


def measure(caption: str, config: TrainConfig, facts: ModelFacts, rows: int) -> tuple[int, bool]:
    """The tokens of a caption, each of the concept's rows counted, and whether the model reads all rows."""
    concept = config.concept
    latest = fill(longest_way_to_token(caption, CaptionPolicy.of(concept)), concept.token)
    ids = word_ids(facts.tokenizer, expand(latest, {concept.token: range(rows)})[0])
    read = ids[: facts.window].count(facts.tokenizer.convert_tokens_to_ids(ROW))
    return len(ids), mentions(latest, concept.token) and (config.long_captions == "chunk" or read >= rows)


def picture_row(
    example: Example, views: Sequence[View], token: str, measured: Mapping[str, tuple[int, bool]]
) -> PictureRow:
    """measured: of each caption, what `measure` says."""
    return PictureRow(
        name=example.picture.name,
        size=example.size,
        shown=views[0].size,
        boxes=tuple(dict.fromkeys(view.box for view in views)),
        captions=tuple(fill(caption, token) for caption in example.captions),
        tokens=max(measured[caption][0] for caption in example.captions),
        has_token=all(measured[caption][1] for caption in example.captions),
        repeats=example.repeats,
        weight=example.weight,
        mask=example.mask is not None,
        is_class=example.is_class,
    )


def problems_of(concept: Concept, found: Scan, pictures: Sequence[PictureRow], window: int) -> list[str]:
    """Lines about everything for which training would refuse to start."""
    without = [picture.name for picture in pictures if not picture.has_token]
    lines = [*found.bad_pictures, *found.bad_captions]
    if without:
        lines.append(
            f"captions without {concept.token}, or with it behind the {window} tokens that the model reads: "
            f"{listing(without)}; write {concept.token} in them, put it first, or add --add_token"
        )
    return lines


def small_pictures(pictures: Sequence[PictureRow]) -> list[str]:
    small = [p.name for p in pictures if min(p.size[0] / p.shown[0], p.size[1] / p.shown[1]) < 1]
    return [f"smaller than what is shown of them, and enlarged: {listing(small)}"] if small else []


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
    """The most frequent sizes."""
    counted = Counter(sizes).most_common()
    return listing([f"{count} of {width} x {height}" for (width, height), count in counted])


def report_json(report: DatasetReport) -> str:
    return json.dumps(asdict(report), ensure_ascii=False)


def short_form(examples: Sequence[Example]) -> str:
    """What a run says of its pictures: "5 pictures of 64 x 64, 20 captions"."""
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
    head, space, tail = name.partition(" ")
    return f"{count} {head}{'s' * (count != 1)}{space}{tail}"
