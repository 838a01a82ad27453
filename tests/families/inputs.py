"""What a family's `predict` takes, made up."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ti_trainer import ModelConfig
from ti_trainer.families import Conditioning, Family, load_family


def load(model: Path) -> Family:
    return load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32)


def inputs(family: Family, examples: int) -> tuple[Tensor, Tensor, Conditioning, Tensor]:
    """What `predict` takes, on the family's device, with a context that wants a gradient."""
    torch.manual_seed(0)
    with torch.no_grad():
        text = family.encode_text(["a cat"] * examples)
    given = Conditioning(torch.empty_like(text.context).normal_().requires_grad_(), text.pooled, text.mask)
    with family.device:
        noisy = torch.randn(examples, family.latent_channels, 8, 8)
        return noisy, torch.full((examples,), 500), given, torch.zeros(examples, 6)
