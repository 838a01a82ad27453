"""The text encoders of a pipeline that have rows of their own, and what a family reads of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config.model import ModelConfig
from ..data.batches import upload
from ..errors import BadInput
from ..files.wording import flag
from .conditioning import Conditioning
from .parts import Part, Parts, parts_of
from .reading_apart import read_apart

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ENCODER = "text_encoder"  # how the parts of a pipeline are called, but for their suffix
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class SlotKind:
    """A kind of text encoder, and what is read of it; a family says the latter with `dataclasses.replace`."""

    name: str  # of the slot, also in embedding files
    class_names: tuple[str, ...]  # of the encoder in transformers
    marks: Mapping[str, Any]  # entries of its config by which it differs from other kinds of these classes
    length: int  # of a window in tokens, with the special ones
    starts: bool = True  # whether a window begins with the start of text
    ends: bool = True  # whether the end of text comes after the text
    chats: bool = False  # whether the text is put into the tokenizer's chat template, as what a user says
    reads_apart: bool = False  # whether text beside rows is tokenised apart, see reading_apart.py
    pads_to: str = "max_length"  # how far: to the window's length, or "longest", as far as the longest text
    width_entry: str = "hidden_size"  # of its config
    layers_entry: str = "num_hidden_layers"
    missing_layers: int = 0  # of the original model's last layers, which the published encoder does not have
    layer: int = -1  # whose output is the context, from the last
    layers: tuple[int, ...] = ()  # whose outputs side by side are the context instead, from the first
    followers: tuple[str, ...] = ()  # the pipeline's tokenizers without an encoder, to which a row is padding
    inside: str = ""  # the part of the encoder that is read: a language model without its head
    normed: bool = True  # whether the encoder's last norm comes after that layer
    pooled: str | None = None  # the output that is the pooled vector
    masked: bool = False  # whether encoder and denoiser are told which tokens are padding
    skippable: bool = True  # whether `clip_skip` leaves out layers of it
    checkpoints: bool = False  # whether its activations are worth computing twice: it has billions of weights

    @property
    def window(self) -> int:
        """The tokens of a text that a window holds."""
        return self.length - self.starts - self.ends

    def fits(self, part: Part) -> bool:
        return part.class_name in self.class_names and self.marks.items() <= part.config.items()

    def skip(self, layers: int) -> SlotKind:
        """The same kind, read so many layers earlier."""
        return replace(self, layer=self.layer - layers) if self.skippable else self


# The config says which CLIP it is: OpenAI trained with quick_gelu and OpenCLIP with gelu; of the latter, SDXL
# has one with a projection (bigG) and SD 2.x one without (H), published without its last layer.
CLIP_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")
CLIP_L = SlotKind("clip_l", CLIP_CLASSES, {"hidden_act": "quick_gelu"}, length=77)
CLIP_H = SlotKind("clip_h", CLIP_CLASSES[:1], {"hidden_act": "gelu"}, length=77, missing_layers=1)
CLIP_G = SlotKind("clip_g", CLIP_CLASSES[1:], {"hidden_act": "gelu"}, length=77)
T5_XXL = SlotKind(
    "t5xxl",
    ("T5EncoderModel",),
    {},
    length=512,
    starts=False,
    width_entry="d_model",
    layers_entry="num_layers",
    skippable=False,
    checkpoints=True,
)
# A language model: it has no end of text, and the name is that of its width.
QWEN3 = SlotKind(
    "qwen3_4b",
    ("Qwen3Model", "Qwen3ForCausalLM"),
    {},
    length=512,
    starts=False,
    ends=False,
    reads_apart=True,
    masked=True,
    skippable=False,
    checkpoints=True,
)


@dataclass(frozen=True)
class SlotSpec:
    """What is known of a slot without weights."""

    kind: SlotKind
    suffix: str  # of its names in a pipeline: "", "_2" and so on
    width: int  # of its rows
    layers: int

    @property
    def encoder_layer(self) -> int:
        """Which layer of the original model is read, from the last: "clip skip" in WebUIs."""
        return self.kind.missing_layers - self.kind.layer


@dataclass(frozen=True)
class TextSlot:
    """A text encoder that has rows of its own."""

    kind: SlotKind
    suffix: str  # of its names in a pipeline: "", "_2" and so on
    tokenizer: PreTrainedTokenizerBase
    encoder: PreTrainedModel
    followers: tuple[PreTrainedTokenizerBase, ...] = ()  # as in its kind

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def window(self) -> int:
        """The tokens of a text that a window holds."""
        return self.kind.window

    @property
    def table(self) -> Tensor:
        """The vocabulary's embeddings, (V, D)."""
        return self.encoder.get_input_embeddings().weight

    @property
    def width(self) -> int:
        return self.table.shape[1]

    def checkpoint_activations(self, on: bool = True) -> None:
        """From now on compute the activations of a large encoder twice instead of keeping them, or no longer.

        transformers does so in training only: the layers are told that they are trained, and what is in them is not.
        """
        from transformers.modeling_layers import GradientCheckpointingLayer

        for layer in self.encoder.modules() if self.kind.checkpoints else ():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = layer.training = on
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def learn_words(self, names: list[str]) -> int:
        """Make names words of the tokenizers, each of one token, which stands for a row; returns how many are new."""
        if self.kind.reads_apart:
            read_apart(self.tokenizer)
        for follower in self.followers:
            read_apart(follower, follower.pad_token_id)
            follower.add_tokens(names)
        return self.tokenizer.add_tokens(names)

    @property
    def body(self) -> Any:
        """The part of the encoder that is read."""
        return getattr(self.encoder, self.kind.inside) if self.kind.inside else self.encoder

    def drop_unread_layers(self) -> None:
        """Give back what lies behind the last layer that is read, but for one: the very last is normed."""
        if self.kind.layers:
            self.body.layers = self.body.layers[: max(self.kind.layers) + 1]

    def read(self, ids: Tensor) -> Conditioning:
        """Token ids (N, T) on the CPU -> context (N, T, D) and, where the kind has them, pooled (N, P), mask (N, T)."""
        mask = ids != self.tokenizer.pad_token_id if self.kind.masked else None
        device = self.table.device
        seen = None if mask is None or device.type == "meta" else upload(mask, device)  # transformers looks into it
        output = self.body(upload(ids, device), attention_mask=seen, output_hidden_states=True)
        pooled = None if self.kind.pooled is None else output[self.kind.pooled]
        return Conditioning(self.context_of(output), pooled, mask)

    def context_of(self, output: Any) -> Tensor:
        """The context (N, T, D) among an encoder's outputs."""
        if self.kind.layers:
            return torch.cat([output.hidden_states[layer] for layer in self.kind.layers], dim=-1)
        if not self.kind.normed:
            return output.hidden_states[self.kind.layer]
        if self.kind.layer == -1:
            return output.last_hidden_state
        return inner(self.encoder).final_layer_norm(output.hidden_states[self.kind.layer])


def slot_specs(parts: Parts, kinds: Iterable[SlotKind], clip_skip: int = 0) -> tuple[SlotSpec, ...]:
    """A slot for each text encoder of a pipeline, in the pipeline's order, read `clip_skip` layers earlier.

    Raises BadInput for an encoder that is of none of these kinds, or that has too few layers.
    """
    kinds = list(kinds)
    slots = []
    for name in sorted(name for name in parts if name.startswith(ENCODER)):
        part = parts[name]
        suffix = name.removeprefix(ENCODER)
        kind = next((kind for kind in kinds if kind.fits(part)), None)
        if kind is None:
            known = ", ".join(kind.name for kind in kinds)
            raise BadInput(f"the model's {name} is a {part.class_name} of another kind than {known}: no rows fit it")
        slot = SlotSpec(kind.skip(clip_skip), suffix, part.config[kind.width_entry], part.config[kind.layers_entry])
        if kind.skippable and clip_skip >= slot.layers - 1:
            raise BadInput(f"{flag('clip_skip')} is {clip_skip} and {kind.name} has {slot.layers} layers; choose fewer")
        slots.append(slot)
    return tuple(slots)


def text_slots(pipeline: DiffusionPipeline, kinds: Iterable[SlotKind], clip_skip: int = 0) -> tuple[TextSlot, ...]:
    """The slots of `slot_specs` with tokenizers and encoders; raises BadInput as it does."""
    return tuple(
        TextSlot(
            slot.kind,
            slot.suffix,
            getattr(pipeline, TOKENIZER + slot.suffix),
            getattr(pipeline, ENCODER + slot.suffix),
            tuple(getattr(pipeline, name) for name in slot.kind.followers),
        )
        for slot in slot_specs(parts_of(pipeline), kinds, clip_skip)
    )


def chosen_slots(slots: Sequence[TextSlot], config: ModelConfig, needed: Collection[str]) -> tuple[TextSlot, ...]:
    """Those that are to have rows, all by default; needed: names of those that every file of the family has rows for.

    Raises BadInput for names that no slot has, and where one that is needed is not among them.
    """
    names = [name.strip() for each in config.train_slots for name in each.split(",")]
    known = [slot.name for slot in slots]
    for name in names:
        if name not in known:
            raise BadInput(f"{flag('train_slots')} has '{name}', and {config.model} has {', '.join(known)}")
    missing = [name for name in known if name in needed and name not in names]
    if names and missing:
        raise BadInput(
            f"{flag('train_slots')} leaves out {', '.join(missing)}, for which every file of such a model has rows"
        )
    return tuple(slot for slot in slots if not names or slot.name in names)


def inner(encoder: Any) -> Any:
    """The encoder proper: with a projection it lies one level deeper."""
    return getattr(encoder, "text_model", encoder)


def set_end_of_text(slot: TextSlot) -> None:
    """Give a text encoder its tokenizer's end-of-text id.

    Published configs of CLIP carry `eos_token_id: 2`; transformers then pools at the highest id, which is a
    placeholder's.
    """
    end = slot.tokenizer.eos_token_id
    slot.encoder.config.eos_token_id = end
    inner(slot.encoder).eos_token_id = end  # transformers 5 copies it when the encoder is built


@torch.no_grad()
def add_words(slot: TextSlot, names: list[str], rows: Tensor) -> None:
    """Make `names` words of a tokenizer, and rows (n, D) their embeddings in its encoder.

    New words get the ids after the tokenizer's last, of which large vocabularies have some in stock.
    """
    table = slot.table
    first = len(slot.tokenizer)
    if slot.learn_words(names) != len(names):
        raise BadInput(f"'{names[0]}' is already a word of {slot.name}; load it under another token")
    larger = table.new_zeros(max(len(table), first + len(names)), table.shape[1])  # (V', D)
    larger[: len(table)] = table
    larger[first : first + len(names)] = rows.to(table)
    slot.encoder.set_input_embeddings(nn.Embedding.from_pretrained(larger))
    slot.encoder.config.vocab_size = len(larger)


def has_words(slot: TextSlot, names: list[str]) -> bool:
    """Whether a tokenizer was given these words, of one token; raises BadInput where it was given others of it."""
    known = slot.tokenizer.added_tokens_encoder
    if names[0] not in known:
        return False
    if any(name not in known for name in names) or f"{names[0]}_{len(names)}" in known:
        raise BadInput(
            f"the pipeline's {slot.name} has '{names[0]}' with another number of vectors than {len(names)}: load it "
            "into a fresh pipeline, or under another token"
        )
    return True


@torch.no_grad()
def set_words(slot: TextSlot, names: list[str], rows: Tensor) -> None:
    """Give words that a tokenizer has other embeddings, rows (n, D)."""
    table = slot.table
    ids = slot.tokenizer.convert_tokens_to_ids(names)
    table[torch.tensor(ids, device=table.device)] = rows.to(table)
