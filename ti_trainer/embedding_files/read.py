"""Reading embedding files of any format; everything in them is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import BadInput
from ..files.names import MAX_VECTORS, check_token
from ..files.wording import flag
from .content import Content, parse
from .embedding import MODEL_FAMILIES, WIDTHS, Embedding, in_order
from .formats import FORMATS, SLOT_KEYS
from .metadata import NEGATIVE
from .refusals import check_kind
from .tokens import quoted, token_of_file, usable_token

WIDEST = 8192  # the largest width of a vector
LONGEST_KEY = 2**10  # letters of a key of the metadata
LONGEST_VALUE = 2**20  # letters of a value
SLOT_OF_WIDTH = {width: slot for slot, width in reversed(WIDTHS.items())}  # CLIP's and T5's before Qwen's
NEGATIVES = ("-neg", "-uc")  # endings of the file for the negative prompt in DreamArtist's pairs


def read_embedding(path: str | Path, token: str | None = None) -> Embedding:
    """The embedding in a file of any of FORMATS; the format is told by the content.

    Where NAME_2 lies beside NAME, has the same key and is for another text encoder, both are one embedding: diffusers
    saves those of SDXL in this way. token: which embedding to take from a file with several, otherwise a new name.
    Raises BadInput, naming the file, for files that are not embeddings or not safe.
    """
    path = Path(path)
    embedding = read_alone(path, token)
    if len(embedding.vectors) == 1:
        embedding = with_further_files(embedding, path)
    counts = {slot: len(rows) for slot, rows in embedding.vectors.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} for {slot}" for slot, count in counts.items())
        raise BadInput(f"{path} has different numbers of vectors for its text encoders ({told}): it is damaged")
    return replace(
        embedding, vectors=in_order(embedding.vectors), metadata={**embedding.metadata, **negative_entries(path)}
    )


def read_alone(path: Path, token: str | None) -> Embedding:
    """The embedding in one file, without those beside it; raises BadInput as `read_embedding` does."""
    content = parse(path)
    check_kind(content)
    candidates = (row.unpack(content) for row in FORMATS.values())
    found = next((embeddings for embeddings in candidates if embeddings), None)
    if found is None:
        names = ", ".join(map(quoted, content.names[:4])) or type(content.data).__name__
        raise BadInput(f"{path} holds no embedding of a known layout ({names})")
    raw = choose_embedding(found, token, path)
    metadata = {
        key: value
        for key, value in raw.metadata.items()
        if is_writable(key, LONGEST_KEY) and is_writable(value, LONGEST_VALUE)
    }
    vectors: dict[str, Tensor] = {}
    for key, tensor in raw.vectors.items():
        rows = checked(tensor, f"{path}: {quoted(key)}")
        width = rows.shape[1]
        slot = SLOT_KEYS.get(key)
        if slot is None or WIDTHS[slot] != width in SLOT_OF_WIDTH:  # a key that is another encoder's is a mistake
            slot = slot_of(width, metadata)
        if slot in vectors:
            raise BadInput(f"{path} has two tensors for {slot}: it is damaged, or holds several embeddings")
        vectors[slot] = rows
    return Embedding(name_of(raw, content, token), vectors, metadata, str(path))


def choose_embedding(found: Sequence[Embedding], token: str | None, path: Path) -> Embedding:
    """The only embedding of a file, or of several the one with the name `token`; raises BadInput if there is none."""
    if len(found) == 1:
        return found[0]
    for raw in found:
        if token == raw.token:
            return replace(raw, metadata={})  # the metadata of the file is about all of its embeddings
    names = ", ".join(quoted(raw.token) for raw in found[:8])
    chosen = f", and none is '{token}'" if token else ""
    raise BadInput(
        f"{path} holds several embeddings ({names}){chosen}: choose one of them with {flag('token')}, "
        "in merge with FILE:TOKEN, or write it alone with 'ti-trainer convert FILE --to webui --token NAME'"
    )


def name_of(raw: Embedding, content: Content, token: str | None) -> str:
    """The token: the one asked for, or else the one in the metadata, the file's own word, or the file's name.

    Raises BadInput for a token that cannot be used, and for a file of one bare tensor when no token is asked for.
    """
    if token is not None and usable_token(token) == token:
        return token
    if token is not None and token != raw.token:
        check_token(token)  # raises BadInput: it is not in the file, and cannot be a new name
    if token is None and isinstance(content.data, Tensor):
        raise BadInput(
            f"{content.path} is a tensor without a name: give it one with {flag('token')}, "
            "or write it anew with 'ti-trainer convert FILE --to webui --token NAME'"
        )
    for text in (raw.metadata.get("ti_trainer.token"), raw.token):
        known = usable_token(text)
        if known:
            return known
    return token_of_file(content.path)


def checked(tensor: Tensor, name: str) -> Tensor:
    """A copy of a tensor (n, d) or (d,) of any floating-point type, as (n, d) float32.

    Shape and storage are checked before numbers are read, because with a stride of 0 one number looks like gigabytes.
    Raises BadInput for tensors that cannot be vectors; name: for messages.
    """
    shape = tuple(tensor.shape)
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_floating_point():
        raise BadInput(f"{name} is no plain tensor of fractions ({tensor.layout}, {tensor.dtype}): no embedding")
    if tensor.ndim not in (1, 2):
        raise BadInput(f"{name} has {tensor.ndim} dimensions: an embedding has rows and columns")
    count, width = (1, *shape)[-2:]
    if not (1 <= count <= MAX_VECTORS and 1 <= width <= WIDEST):
        raise BadInput(f"{name} has {count} vectors of width {width}; at most {MAX_VECTORS} are usable")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise BadInput(f"{name} claims {count} x {width} numbers and holds fewer: it is damaged, or a trap")
    rows = tensor.detach().reshape(count, width).to(torch.float32, copy=True)  # (n, d)
    if not rows.isfinite().all():
        raise BadInput(f"{name} has numbers that are not finite: the training diverged, or the file is damaged")
    return rows.contiguous()


def is_writable(text: object, longest: int) -> bool:
    """Whether it is a text that another file can hold: not too long, and without half a surrogate pair."""
    return isinstance(text, str) and len(text) <= longest and not any("\ud800" <= c <= "\udfff" for c in text)


def slot_of(width: int, metadata: dict[str, str]) -> str:
    """The text encoder of a tensor without a name: by our metadata where that fits, else by its width, else CLIP-L."""
    told = metadata.get("ti_trainer.slots", "")
    if told in WIDTHS and (WIDTHS[told] == width or width not in SLOT_OF_WIDTH):
        return told
    return SLOT_OF_WIDTH.get(width, "clip_l")


def with_further_files(embedding: Embedding, path: Path) -> Embedding:
    """The embedding with the vectors of NAME_2 and NAME_3, if these are for its other text encoders."""
    vectors = dict(embedding.vectors)
    for further in further_files(path):
        if not further.is_file() or only_key(further) is None or only_key(further) != only_key(path):
            break
        other = read_alone(further, None).vectors
        if set(other) & set(vectors):
            break
        vectors |= other
    known = any(set(vectors) <= kind.slots | kind.optional for kind in MODEL_FAMILIES)
    return replace(embedding, vectors=vectors) if known else embedding


def further_files(path: Path) -> list[Path]:
    """The files beside one, there or not, that are read with it."""
    return [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in (2, 3)]


def only_key(path: Path) -> str | None:
    """The key of a file that has only one; else None."""
    names = parse(path).names
    return names[0] if len(names) == 1 else None


def negative_entries(path: Path) -> dict[str, str]:
    """Metadata for the files of a DreamArtist pair: X is for the prompt, X-neg or X-uc for the negative prompt."""
    for ending in NEGATIVES:
        if path.with_name(f"{path.stem}{ending}{path.suffix}").is_file():
            return {"ti_trainer.negative": f"{path.stem}{ending}{path.suffix}"}
        if path.stem.endswith(ending) and path.with_name(path.stem.removesuffix(ending) + path.suffix).is_file():
            return {NEGATIVE: "true"}
    return {}
