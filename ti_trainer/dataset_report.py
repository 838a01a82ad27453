"""What training would see of a concept's pictures, before any model is loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bundled import resolve
from .captions import CaptionPolicy, expand, fill, longest_way_to_token, mentions, row_names
from .config import Concept
from .data.examples import Example
from .data.scanning import Progress, Scan, scan
from .errors import BadInput
from .initializers import DEFAULT_VECTORS, word_ids
from .wording import listing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the upright picture

SD_RESOLUTION = 512  # where the model's own is not at hand


@dataclass(frozen=True)
class PictureRow:
    """What training would see of one picture."""

    name: str
    size: tuple[int, int]  # width, height
    box: Box  # what is shown of it
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
    concept: Concept,
    model: str,
    resolution: int | None,
    revision: str | None = None,
    progress: Progress = lambda things, count: things,
) -> tuple[DatasetReport, list[Example]]:
    """The report, and the examples that it is about, in the same order; of the model, only the tokenizer is loaded."""
    found = scan(concept, progress)
    tokenizer = load_tokenizer(model, revision)
    names = rows_of_concept(concept, tokenizer)
    resolution = resolution or model_resolution(model)
    window = tokenizer.model_max_length - 2
    pictures = [picture_row(concept, example, resolution, tokenizer, names) for example in found.examples]
    report = DatasetReport(
        token=concept.token,
        resolution=resolution,
        window=window,
        pictures=tuple(pictures),
        own_captions=found.own_captions,
        problems=tuple(problems_of(concept, found, pictures, window)),
        duplicates=tuple(found.duplicates),
        notes=(*found.notes, *small_pictures(pictures, resolution)),
    )
    return report, found.examples


def load_tokenizer(model: str, revision: str | None) -> PreTrainedTokenizerBase:
    from transformers import CLIPTokenizer

    source = resolve(model)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", revision=revision)
    except (OSError, ValueError) as error:
        raise BadInput(f"--model {model} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None
    if len(tokenizer) < 2 * 256:  # fewer than the bytes within and at the end of a word: transformers found no file
        raise BadInput(f"--model {model} has no tokenizer that can be loaded: its folder 'tokenizer' has no vocabulary")
    return tokenizer


def model_resolution(model: str) -> int:
    """The side at which a model in a folder was trained; that of Stable Diffusion 1.x where it cannot be told."""
    folder = Path(resolve(model))
    try:
        unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
        vae = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
        return int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError):
        return SD_RESOLUTION


def rows_of_concept(concept: Concept, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The names of the concept's rows, made known to the tokenizer; a tuned word is known to it."""
    if concept.tune:
        return (concept.token,)
    of_phrase = (
        0 if concept.init.partition(":")[0] in ("auto", "random", "file") else len(word_ids(tokenizer, concept.init))
    )
    count = concept.num_vectors or (of_phrase if of_phrase > 1 else DEFAULT_VECTORS)
    names = row_names(concept.token, count)
    tokenizer.add_tokens(list(names))
    return names


def picture_row(
    concept: Concept, example: Example, resolution: int, tokenizer: PreTrainedTokenizerBase, names: Sequence[str]
) -> PictureRow:
    policy, window = CaptionPolicy.of(concept), tokenizer.model_max_length - 2
    rows = set(word_ids(tokenizer, " ".join(names)))
    longest, has_token = 0, True
    for caption in example.captions:
        latest = fill(longest_way_to_token(caption, policy), concept.token)
        ids = word_ids(tokenizer, expand(latest, {concept.token: list(names)}))
        longest = max(longest, len(ids))
        has_token &= mentions(latest, concept.token) and rows <= set(ids[:window])
    return PictureRow(
        name=example.picture.name,
        size=example.size,
        box=shown_box(example.size, resolution),
        captions=tuple(fill(caption, concept.token) for caption in example.captions),
        tokens=longest,
        has_token=has_token,
        repeats=example.repeats,
        weight=example.weight,
        mask=example.mask is not None,
        is_class=example.is_class,
    )


def shown_box(size: tuple[int, int], resolution: int) -> Box:
    """The part of a picture that training shows: the largest central square."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


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


def small_pictures(pictures: Sequence[PictureRow], resolution: int) -> list[str]:
    small = [picture.name for picture in pictures if min(picture.size) < resolution]
    return [f"smaller than {resolution} pixels and enlarged: {listing(small)}"] if small else []


def report_text(report: DatasetReport) -> str:
    """The report as a table for a person."""
    own = [picture for picture in report.pictures if not picture.is_class]
    lines = [f"{report.token} at {report.resolution} pixels", ""]
    header = ("picture", "pixels", "shown", "times", "mask", "tokens", "caption")
    cells = [header, *(table_cells(picture) for picture in report.pictures)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header) - 1)]
    for row in cells:
        lines.append("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
    captions = len({caption for picture in own for caption in picture.captions})
    totals = {
        "pictures": f"{len(own)}, {sum(picture.repeats for picture in own)} with repeats",
        "of the class": f"{len(report.pictures) - len(own)}",
        "sizes": sizes_text([picture.size for picture in report.pictures]),
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
    left, top, right, bottom = (round(side) for side in picture.box)
    first = picture.captions[0] + (f"  (and {len(picture.captions) - 1} more)" if len(picture.captions) > 1 else "")
    return (
        picture.name,
        f"{picture.size[0]} x {picture.size[1]}",
        f"{right - left} x {bottom - top}",
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
