"""The text encoders of a pipeline, and the one thing about them that has to be mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class TextSlot:
    """A text encoder that has rows of its own."""

    name: str  # "clip_l" (OpenAI's ViT-L), "clip_h", "clip_g" (OpenCLIP's ViT-H and ViT-bigG)
    suffix: str  # of its names in a pipeline: "" or "_2"
    tokenizer: PreTrainedTokenizerBase
    encoder: PreTrainedModel

    @property
    def table(self) -> Tensor:
        """The vocabulary's embeddings, (V, D)."""
        return self.encoder.get_input_embeddings().weight

    @property
    def width(self) -> int:
        return self.table.shape[1]


def text_slots(pipeline: DiffusionPipeline) -> tuple[TextSlot, ...]:
    """A slot for each CLIP text encoder of a pipeline, in the pipeline's order.

    Which CLIP it is, is told from its config: OpenAI trained with quick_gelu and OpenCLIP with gelu; of the latter SDXL
    has one with a projection (bigG) and SD 2.x one without (H).
    """
    slots = []
    for suffix in ("", "_2"):
        encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if encoder is None:
            continue
        open_clip = "clip_g" if hasattr(encoder, "text_projection") else "clip_h"
        name = "clip_l" if encoder.config.hidden_act == "quick_gelu" else open_clip
        slots.append(TextSlot(name, suffix, getattr(pipeline, f"tokenizer{suffix}"), encoder))
    return tuple(slots)


def set_end_of_text(slot: TextSlot) -> None:
    """Give a CLIP text encoder its tokenizer's end-of-text id.

    Published configs carry `eos_token_id: 2`; transformers then pools at the highest id, which is a placeholder's.
    """
    end = slot.tokenizer.eos_token_id
    slot.encoder.config.eos_token_id = end
    # transformers 5 copies it when the encoder is built; with a projection the encoder proper lies one level deeper
    getattr(slot.encoder, "text_model", slot.encoder).eos_token_id = end
