"""Tiny random models that judge pictures: of attributes, with what each sees, and of likeness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.tiny_parts import build_tokenizer

LABELS = [
    *("object:cat", "object:dog", "colour:red", "pattern:plain", "pattern:spots", "colour:blue", "accent:hat"),
    *("scene:grass", "scene:snow", "accent:none", "scene:night", "scene:beach", "scene:sunset"),
]


def build_judge(folder: Path) -> Path:
    """A classifier whose labels lie in no order."""
    from transformers import RegNetConfig, RegNetForImageClassification

    torch.manual_seed(2)
    config = RegNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        groups_width=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    RegNetForImageClassification(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def labels_seen(judge_folder: Path, image: Image.Image) -> dict[str, str]:
    """The best label of each attribute, by a loop over all labels."""
    from transformers import RegNetForImageClassification

    model = RegNetForImageClassification.from_pretrained(judge_folder).eval()
    pixels = torch.tensor(np.asarray(image).tolist(), dtype=torch.float32).permute(2, 0, 1) / 127.5 - 1
    logits = model(pixel_values=pixels[None]).logits[0].tolist()
    best: dict[str, tuple[float, str]] = {}
    for label, logit in zip(LABELS, logits, strict=True):
        attribute, value = label.split(":")
        best[attribute] = max(best.get(attribute, (-1e9, "")), (logit, value))
    return {attribute: value for attribute, (_, value) in best.items()}


TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def build_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(1)
    tokenizer = build_tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPConfig(
        text_config={**TOWER, **ids, "vocab_size": len(tokenizer)},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


def build_siglip(folder: Path) -> Path:
    """SigLIP2 of a fixed resolution, whose architecture is SigLIP's; its tokenizer knows letters."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel
    from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

    torch.manual_seed(3)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [*special, "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Siglip2Tokenizer({letter: number for number, letter in enumerate(letters)}, padding_side="right")
    config = SiglipConfig(
        text_config={**TOWER, "vocab_size": len(letters), "max_position_embeddings": 24, "projection_size": 32},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
    )
    model = SiglipModel(config)
    with torch.no_grad():  # random towers see all pictures and texts alike otherwise
        for name, parameter in model.named_parameters():
            if "embedding" in name or ".self_attn." in name:
                parameter.mul_(8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def build_dino(folder: Path) -> Path:
    """DINOv2."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    torch.manual_seed(4)
    Dinov2Model(Dinov2Config(**TOWER, image_size=28, patch_size=14, initializer_range=0.1)).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder
