"""Everything that will go wrong, said before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from ..config.bundled import resolve
from ..config.config import Concept, TrainConfig
from ..data.batches import ConceptData
from ..data.captions import CaptionPolicy, longest_way_to_token
from ..data.examples import Example
from ..data.geometry import Framing
from ..errors import BadInput
from ..families import Family, TextSlot
from ..files.wording import listing, shorten
from ..method.initializers import is_known_word, word_ids
from ..method.placeholders import Rows
from ..method.tokens import ROW, TOKEN_FIELD, expand, fill, mentions
from ..runs.folder import RunFolder
from .memory.machine import available_bytes

MIN_FREE_BYTES = 20 * 2**20


def check_resources(config: TrainConfig) -> None:
    """Raises BadInput when the disk is full or the model's weights are larger than the free memory."""
    place = RunFolder(config).path.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        raise BadInput(f"{place} has {free / 2**20:.0f} MiB free; make room or choose another --output")
    source = Path(resolve(config.model))
    files = [source] if source.is_file() else source.glob("*/*.safetensors")
    weights = sum(file.stat().st_size for file in files)
    memory = available_bytes()
    if weights > memory:
        raise BadInput(
            f"--model {config.model} has {weights / 2**30:.1f} GiB of weights and {memory / 2**30:.1f} GiB of memory "
            "are free; close other programs or choose a smaller model"
        )


def check_resolution(config: TrainConfig, family: Family) -> int:
    """The side of the training pictures in pixels; raises BadInput when the VAE cannot halve it often enough."""
    size, unit = config.resolution or family.spec.resolution, family.pixels_per_latent
    if size % unit:
        raise BadInput(
            f"--resolution is {size}; choose a multiple of {unit}, such as {max(1, round(size / unit)) * unit}"
        )
    return size


def check_token_is_new(concept: Concept, slots: Sequence[TextSlot]) -> None:
    """Raises BadInput when the token is a known word, or when a word to be tuned is none."""
    for slot in slots:
        known = is_known_word(slot.tokenizer, concept.token) or concept.token in slot.tokenizer.get_vocab()
        if known and not concept.tune:
            raise BadInput(
                f"'{concept.token}' is already a word of {slot.name}; choose another --token such as "
                f"'<my-{concept.stem}>', or add --tune to train that word itself"
            )
        if concept.tune and not known:
            raise BadInput(f"--tune wants a word that {slot.name} has as one token, and '{concept.token}' is none")


def check_captions(
    concept: Concept, examples: Sequence[Example], slot: TextSlot, count: int, long_captions: str
) -> list[str]:
    """A line about captions of which the model reads only the beginning.

    Raises BadInput for captions without the token, and for ones in which the window cuts a row off. count: of the
    concept's rows. Where tags are shuffled, the token may come last.
    """
    policy = CaptionPolicy.of(concept)
    row = slot.tokenizer.convert_tokens_to_ids(ROW)
    window = slot.window
    seen: set[str] = set()
    cut: list[str] = []
    for example in examples:
        name = example.picture.name
        for template in example.captions:
            caption = fill(template, concept.token)
            if caption in seen:
                continue
            seen.add(caption)
            if not mentions(caption, concept.token):
                raise BadInput(
                    f"the caption of {name}, '{caption}', does not mention {concept.token} and would train "
                    f"nothing; write {concept.token} or {TOKEN_FIELD} where it belongs, or add --add_token"
                )
            latest = fill(longest_way_to_token(template, policy), concept.token)
            ids = word_ids(slot.tokenizer, expand(latest, {concept.token: range(count)})[0])
            if len(ids) <= window or long_captions == "chunk":
                continue
            if ids[:window].count(row) < count:
                raise BadInput(
                    f"the caption of {name} has {len(ids)} tokens, and the {window} that the model reads do not hold "
                    f"all of {concept.token}; shorten it, put the token first, or add --long_captions chunk: "
                    f"'{latest[:80]}'"
                )
            cut.append(name)
    if not cut:
        return []
    return [f"of the captions of {listing(cut)} only {window} tokens are read; --long_captions chunk reads all"]


def picture_warnings(examples: Sequence[Example], framing: Framing) -> list[str]:
    """A line for each picture that is smaller than what is shown of it."""
    lines = []
    for example in examples:
        shown = framing.size(example.size)
        if example.size[0] < shown[0] or example.size[1] < shown[1]:
            own, wanted = (f"{width} x {height}" for width, height in (example.size, shown))
            lines.append(f"{example.picture.name} is {own} and will be enlarged to {wanted}")
    return shorten(lines)


def check_gradients(family: Family, rows: Rows, data: ConceptData) -> None:
    """Raises BadInput when a row does not reach what the denoiser is told."""
    caption = fill(data.examples[0].captions[0], data.token)
    output = family.encode_text([caption], [data.owner]).energy
    gradients = torch.autograd.grad(output, list(rows.values()), allow_unused=True)
    for slot, gradient in zip(rows, gradients, strict=True):
        silent = [] if gradient is None else (gradient.norm(dim=1) == 0).nonzero().flatten().tolist()
        if gradient is None or silent:
            raise BadInput(f"rows {silent} of {data.token} in {slot} get no gradient from '{caption}'")
