"""The table of embedding file formats; a new one is two functions and a row.

An unpacking function takes what was parsed from a file and returns the embeddings that it finds there, or None if the
file has another layout. It checks nothing: the token is the file's own word ("" if it has none), and tensors have the
file's own keys. read.py then checks all of it and turns keys into slots. A packing function returns the bytes of each
file that the format needs; it gets the slots in the order in which pipelines number their text encoders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from ..errors import BadInput
from ..files.wording import flag
from .cards import card_bytes, draw_numbers
from .content import Content
from .embedding import Embedding, describe
from .metadata import CHECKPOINT_HASH, CHECKPOINT_INFO, naming
from .pickles import ParameterDict, pickle_bytes
from .tensors import modelspec_hash, tensor_bytes

# The keys that name a text encoder, in any of the programs -> slot.
SLOT_KEYS = {
    "clip_l": "clip_l",
    "clip_h": "clip_h",
    "clip_g": "clip_g",
    "t5xxl": "t5xxl",
    "t5": "t5xxl",
    "qwen3_06b": "qwen3_06b",
    "qwen3_4b": "qwen3_4b",
    "qwen3_8b": "qwen3_8b",
}
# Keys of vectors for a single text encoder; their width tells which one.
ONLY_KEYS = ("emb_params", "emp_params", "*")
# Keys of vectors for the first and the second text encoder of a pipeline; their widths tell which these are.
NUMBERED_KEYS = ("text_encoders_0", "text_encoders_1")


def packed(embedding: Embedding, keys: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file; keys: the keys of the file -> slot."""
    tensors = {key: embedding.vectors[slot] for key, slot in keys.items()}
    metadata = {
        **embedding.metadata,
        **naming(embedding.token, embedding.is_negative),
        "format": "pt",
        "modelspec.hash_sha256": modelspec_hash(tensors),
        "ti_trainer.slots": ",".join(keys.values()),
    }
    return tensor_bytes(tensors, metadata)


def misfit(embedding: Embedding, name: str, wanted: str) -> BadInput:
    """The error for an embedding that a format cannot hold."""
    own = describe(embedding.widths, embedding.families)
    return BadInput(f"{embedding.token} has vectors for {own}, and {name} is for {wanted}: choose another {flag('to')}")


def alone(embedding: Embedding) -> bool:
    """Whether it is for a model with one text encoder; Flux has two, and its embeddings may leave one out."""
    return set(embedding.vectors) in ({"clip_l"}, {"clip_h"}) and embedding.families != ("Flux",)


def pack_webui(embedding: Embedding) -> list[bytes]:
    """One file, with the key `emb_params` for a single text encoder, else with the slots as keys."""
    if alone(embedding):
        return [packed(embedding, {"emb_params": next(iter(embedding.vectors))})]
    return [packed(embedding, {slot: slot for slot in embedding.vectors})]


def pack_diffusers(embedding: Embedding) -> list[bytes]:
    """A file for each text encoder, in the order in which diffusers numbers them; the key is the token."""
    return [packed(embedding, {embedding.token: slot}) for slot in embedding.vectors]


def pack_kohya(embedding: Embedding) -> list[bytes]:
    """The WebUIs' layout; raises BadInput for model families that sd-scripts does not read it for."""
    if not alone(embedding) and set(embedding.vectors) != {"clip_l", "clip_g"}:
        raise misfit(embedding, "kohya", "SD 1.x, SD 2.x and SDXL")
    return pack_webui(embedding)


def pack_onetrainer(embedding: Embedding) -> list[bytes]:
    """One file, with OneTrainer's key `emp_params` (it is misspelt there) or slots as keys, T5's being `t5`.

    Raises BadInput for model families of which it knows no embeddings.
    """
    if any(slot.startswith("qwen") for slot in embedding.vectors):
        raise misfit(embedding, "onetrainer", "models with CLIP and T5")
    if alone(embedding):
        return [packed(embedding, {"emp_params": next(iter(embedding.vectors))})]
    return [packed(embedding, {slot.replace("t5xxl", "t5"): slot for slot in embedding.vectors})]


def a1111_content(embedding: Embedding) -> dict[str, Any]:
    """What A1111 writes into its own files, with our metadata added; raises BadInput for several text encoders."""
    if not alone(embedding):
        raise misfit(embedding, "a1111-pt, like png-card,", "models with one text encoder, SD 1.x and 2.x")
    (vectors,) = embedding.vectors.values()
    step = embedding.metadata.get("ti_trainer.step", "")
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": embedding.stem,
        "step": int(step) if re.fullmatch(r"\d{1,9}", step) else None,
        "sd_checkpoint": embedding.metadata.get("ti_trainer.base_model_hash"),
        "sd_checkpoint_name": embedding.metadata.get("ti_trainer.base_model"),
        "ti_trainer": {
            **embedding.metadata,
            **naming(embedding.token, embedding.is_negative),
            "ti_trainer.slots": next(iter(embedding.vectors)),
        },
    }


def pack_a1111(embedding: Embedding) -> list[bytes]:
    """A1111's pickle."""
    return [pickle_bytes(a1111_content(embedding))]


def pack_card(embedding: Embedding) -> list[bytes]:
    """A picture card with a drawing of the vectors."""
    return [pack_card_on(embedding, draw_numbers(next(iter(embedding.vectors.values()))))]


def pack_card_on(embedding: Embedding, picture: Image.Image) -> bytes:
    """A picture card with a given picture."""
    count = embedding.num_vectors
    title = f"{embedding.token}   {count} vector{'s' * (count > 1)}   {' or '.join(embedding.families)}".strip()
    return card_bytes(a1111_content(embedding), title, picture)


def tensors_in(mapping: Any) -> dict[str, Any]:
    """The tensors of a mapping whose keys are text, by key; none if it is not a mapping."""
    mapping = mapping if isinstance(mapping, dict) else {}
    return {key: value for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)}


def unpack_keys(content: Content) -> list[Embedding] | None:
    """Keys that name text encoders or number them, or one of ONLY_KEYS."""
    tensors = tensors_in(content.data)
    keys = set(tensors)
    if keys and (keys <= set(SLOT_KEYS) or keys <= set(NUMBERED_KEYS) or (len(keys) == 1 and keys <= set(ONLY_KEYS))):
        return [Embedding("", tensors, content.metadata)]
    return None


def unpack_checkpoint(content: Content) -> list[Embedding] | None:
    """A checkpoint of a run, of which the rows are taken: `rows.SLOT`, beside the best ones and an optimiser's."""
    tensors = tensors_in(content.data)
    rows = {key.removeprefix("rows."): tensor for key, tensor in tensors.items() if key.startswith("rows.")}
    if not rows or not all(key.startswith(("rows.", "best.", "optimizer.")) for key in tensors):
        return None
    state = (CHECKPOINT_INFO, CHECKPOINT_HASH)
    return [Embedding("", rows, {key: value for key, value in content.metadata.items() if key not in state})]


def unpack_tokens(content: Content) -> list[Embedding] | None:
    """Keys that are tokens, each with an embedding."""
    tensors = tensors_in(content.data)
    if set(tensors) & {*SLOT_KEYS, *NUMBERED_KEYS, *ONLY_KEYS} or any(key.startswith("bundle_emb.") for key in tensors):
        return None
    if unpack_checkpoint(content):
        return None
    return [Embedding(key, {key: tensor}, content.metadata) for key, tensor in tensors.items()] or None


def unpack_a1111(content: Content) -> list[Embedding] | None:
    """`string_to_param`: A1111 has the vectors under "*", the first Textual Inversion code under its placeholders."""
    data = content.data if isinstance(content.data, dict) else {}
    parameters = data.get("string_to_param")
    tensors = tensors_in(parameters._parameters if isinstance(parameters, ParameterDict) else parameters)
    if not tensors:
        return None
    told = {
        "ti_trainer.step": data.get("step"),
        "ti_trainer.base_model_hash": data.get("sd_checkpoint"),
        "ti_trainer.base_model": data.get("sd_checkpoint_name"),
    }
    own = data.get("ti_trainer")
    metadata = {key: str(value) for key, value in told.items() if isinstance(value, (int, str))}
    metadata |= {k: v for k, v in (own if isinstance(own, dict) else {}).items() if isinstance(k, str)}
    name = data.get("name")
    if len(tensors) == 1 and isinstance(name, str):
        return [Embedding(f"<{name.strip('<>')}>", tensors, metadata)]
    return [Embedding(key, {"*": tensor}, metadata) for key, tensor in tensors.items()]


def unpack_bundle(content: Content) -> list[Embedding] | None:
    """Embeddings inside a LoRA, under `bundle_emb.NAME.KEY`; without metadata, because the file's is the LoRA's."""
    bundles: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors_in(content.data).items():
        found = re.fullmatch(r"bundle_emb\.(.+?)\.(?:string_to_param\.)?([^.]+)", key)
        if found:
            bundles.setdefault(found[1], {})[found[2]] = tensor
    return [Embedding(f"<{name.strip('<>')}>", tensors) for name, tensors in bundles.items()] or None


def unpack_list(content: Content) -> list[Embedding] | None:
    """A list with a mapping for each text encoder, of one tensor each."""
    if not isinstance(content.data, list) or not 1 <= len(content.data) <= 8:
        return None
    parts = [tensors_in(part) for part in content.data]
    if any(len(part) != 1 for part in parts):
        return None
    keys = [next(iter(part)) for part in parts]
    names = keys if set(keys) <= set(SLOT_KEYS) else [f"{key} {number}" for number, key in enumerate(keys)]
    return [Embedding("", dict(zip(names, (next(iter(part.values())) for part in parts), strict=True)))]


def unpack_tensor(content: Content) -> list[Embedding] | None:
    """A tensor without a key."""
    return [Embedding("", {"tensor": content.data})] if isinstance(content.data, Tensor) else None


@dataclass(frozen=True)
class Format:
    """A row of FORMATS."""

    about: str  # which programs use it, and its layout
    suffix: str
    unpack: Callable[[Content], list[Embedding] | None]
    pack: Callable[[Embedding], list[bytes]] | None = None  # None: this format is read but not written
    usage: str = ""  # where the written file belongs, with {stem}, {token} and {prompt}; none: what readers.py says


FORMATS: dict[str, Format] = {
    "webui": Format(
        "A1111, Forge, SD.Next, ComfyUI, InvokeAI: emb_params, or clip_l, clip_g, t5xxl and Qwen's",
        ".safetensors",
        unpack_keys,
        pack_webui,
    ),
    "checkpoint": Format(
        "a checkpoint of a run of ours, of which the rows are taken", ".safetensors", unpack_checkpoint
    ),
    "diffusers": Format(
        "load_textual_inversion: a file for each text encoder, whose key is the token",
        ".safetensors",
        unpack_tokens,
        pack_diffusers,
        "ti_trainer.load_into_pipeline(pipeline, file), or load_textual_inversion for each text encoder; "
        "write {token} in the {prompt}",
    ),
    "kohya": Format(
        "sd-scripts, --textual_inversion_embeddings: emb_params, or clip_l and clip_g",
        ".safetensors",
        unpack_keys,
        pack_kohya,
        "gen_img.py --textual_inversion_embeddings FILE, and {stem} in the {prompt}",
    ),
    "onetrainer": Format(
        "OneTrainer: emp_params, or clip_l, clip_g and t5",
        ".safetensors",
        unpack_keys,
        pack_onetrainer,
        "choose it as 'base embedding', with {token} as the placeholder",
    ),
    "a1111-pt": Format(
        "A1111's own pickle, also that of the first Textual Inversion code",
        ".pt",
        unpack_a1111,
        pack_a1111,
        "copy it into 'embeddings' and write {stem} in the {prompt}",
    ),
    "png-card": Format(
        "A1111's picture card: a PNG, or a lossless copy of its pixels",
        ".png",
        unpack_a1111,
        pack_card,
        "share the PNG as it is: copied into 'embeddings' of A1111 it is the word {stem}",
    ),
    "lora-bundle": Format("embeddings inside a LoRA (OneTrainer, A1111)", ".safetensors", unpack_bundle),
    "list": Format("a list with a mapping for each text encoder", ".pt", unpack_list),
    "tensor": Format("a bare tensor, which needs --token", ".pt", unpack_tensor),
}
