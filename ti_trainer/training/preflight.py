"""Everything that would go wrong in training, found before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..config.bundled import resolve
from ..config.concept import Concept
from ..config.config import TrainConfig
from ..data.batches import ConceptData
from ..data.checks import CaptionReading, read_captions, resolution_problem, small_pictures, token_problem
from ..data.examples import Example
from ..data.geometry import Framing
from ..errors import BadInput, Refused
from ..families import Family, TextSlot
from ..files.wording import flag, listing, printable, shorten
from ..method.initializers import split_init
from ..method.placeholders import Rows
from ..method.tokens import TOKEN_FIELD, fill, mentions
from ..runs.folder import RunFolder
from .memory.machine import available_bytes

MIN_FREE_BYTES = 20 * 2**20
PIECES = 3  # of a word that is none: CLIP has most words whole, and many others in two


def check_disk(config: TrainConfig) -> None:
    """Raises BadInput when the disk of the run's folder is full."""
    place = RunFolder(config).path.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        raise BadInput(f"{place} has {free / 2**20:.0f} MiB free; make room or choose another {flag('output')}")


def check_trackers(config: TrainConfig) -> None:
    """Raises BadInput when a tracker is wanted that is not installed."""
    for name in config.report_to:
        try:
            version(name)  # of the package: a folder called wandb can be imported too
        except PackageNotFoundError:
            raise BadInput(
                f"{flag('report_to', name)} needs a package that is not installed: pip install {name}, which the extra "
                f"[{name}] does too"
            ) from None


def check_weights(config: TrainConfig) -> None:
    """Raises BadInput when the model's weights are larger than the free memory."""
    source = Path(resolve(config.model))
    files = [source] if source.is_file() else source.glob("*/*.safetensors")
    weights = sum(file.stat().st_size for file in files)
    memory = available_bytes()
    if weights > memory:
        raise BadInput(
            f"{flag('model', config.model)} has {weights / 2**30:.1f} GiB of weights and {memory / 2**30:.1f} GiB of "
            "memory are free; close other programs or choose a smaller model"
        )


def check_resolution(config: TrainConfig, family: Family) -> int:
    """The side of the training pictures in pixels; raises BadInput when the VAE cannot divide it into latents."""
    size = config.resolution or family.spec.resolution
    problem = resolution_problem(size, family.pixels_per_latent)
    if problem:
        raise BadInput(problem)
    return size


def check_token_is_new(concept: Concept, slots: Sequence[TextSlot]) -> None:
    """Raises BadInput when the token is a word of the model already, or with `tune` when it is not one."""
    for slot in slots:
        problem = token_problem(concept, slot.tokenizer, slot.name)
        if problem:
            raise BadInput(problem)


def check_vectors(concept: Concept, count: int) -> None:
    """Raises Refused for more rows than there may be; count: those that the concept starts with."""
    most = concept.bounds.vectors
    if most is not None and count > most:
        raise Refused(f"{flag('init')} makes {count} vectors, and a row of a list may have {most}")


def check_captions(
    concept: Concept, examples: Sequence[Example], slot: TextSlot, count: int, long_captions: str
) -> list[str]:
    """A line about captions of which a text encoder reads only the beginning; count: of the concept's rows.

    Raises BadInput for the first caption without the token, or of which the encoder does not read every row.
    """
    readings = read_captions(concept, examples, slot.tokenizer, slot.window, count, long_captions)
    for example in examples:
        for caption in example.captions:
            check_caption(concept, example.picture.name, readings[caption])
    cut = [each.picture.name for each in examples if any(readings[caption].is_cut for caption in each.captions)]
    if not cut:
        return []
    cure = f"{flag('long_captions', 'chunk')} reads all"
    return [f"of the captions of {listing(cut)} only {slot.window} tokens are read; {cure}"]


def check_caption(concept: Concept, picture: str, reading: CaptionReading) -> None:
    """Raises BadInput for a caption that would not train every row of the concept; picture: for the message."""
    if not reading.has_token:
        raise BadInput(
            f"the caption of {picture} does not mention {concept.token} and would train nothing; write "
            f"{concept.token} or {TOKEN_FIELD} where it belongs, or add {flag('add_token', True)}"
        )
    if not reading.has_rows:
        raise BadInput(
            f"the caption of {picture} has {reading.tokens} tokens, and the {reading.window} that the model reads do "
            f"not hold all of {concept.token}; shorten it, put the token first, or add "
            f"{flag('long_captions', 'chunk')}"
        )


def preview_warnings(concept: Concept, prompts: Sequence[str]) -> list[str]:
    """A line where no picture would show what is learned; prompts: of the previews."""
    if concept.negative or any(mentions(prompt, concept.token) for prompt in prompts):
        return []
    return [f"no prompt of the previews has {concept.token} in it: write {TOKEN_FIELD} into {flag('prompts')}"]


def init_warnings(concept: Concept, slot: TextSlot) -> list[str]:
    """A line for each word of `init` that the model reads in PIECES or more, as it does with what is no word."""
    kind, words = split_init(concept.init)
    if kind != "words" or concept.tune:
        return []
    pieces = {word: slot.tokenizer.tokenize(word) for word in dict.fromkeys(words.split())}
    return [
        f"the model knows no word '{printable(word)}', and reads {len(read)} pieces of it: {flag('init')} takes words "
        "for what the pictures show"
        for word, read in pieces.items()
        if word.isalpha() and len(read) >= PIECES
    ]


def picture_warnings(examples: Sequence[Example], framing: Framing) -> list[str]:
    """A line for each picture that is smaller than what is shown of it."""
    lines = []
    for small in small_pictures(examples, framing):
        own, wanted = (f"{width} x {height}" for width, height in (small.size, small.shown))
        lines.append(f"{small.name} is {own} and will be enlarged to {wanted}")
    return shorten(lines)


def check_gradients(family: Family, rows: Rows, data: ConceptData) -> None:
    """Raises BadInput when a row has no influence on the text encoder's output."""
    first = data.examples[0]
    caption = fill(first.captions[0], data.token)
    output = family.encode_text([caption], [data.owner]).energy
    gradients = torch.autograd.grad(output, list(rows.values()), allow_unused=True)
    for slot, gradient in zip(rows, gradients, strict=True):
        silent = [] if gradient is None else (gradient.norm(dim=1) == 0).nonzero().flatten().tolist()
        if gradient is None or silent:
            raise BadInput(
                f"rows {silent} of {data.token} in {slot} get no gradient from a caption of {first.picture.name}"
            )
