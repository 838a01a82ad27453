"""Blocks of a frozen U-Net, on CPUs, that keep for their backward pass only what costs much to compute again."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from .convolutions import freeze_convolutions

aten = torch.ops.aten


def make_lean(unet: nn.Module) -> None:
    """Let the plain blocks and convolutions of a frozen U-Net keep less; its weights and their names stay."""
    freeze_convolutions(unet)
    for module in unet.modules():
        if type(module) is ResnetBlock2D and is_plain(module):
            module.__class__ = LeanResnetBlock
        elif type(module) is GEGLU:
            module.__class__ = LeanGEGLU


def is_plain(block: ResnetBlock2D) -> bool:
    """Whether it is as in Stable Diffusion; its other kinds resize, scale, or know no timestep."""
    return (
        block.upsample is block.downsample is None
        and block.time_emb_proj is not None
        and block.time_embedding_norm == "default"
        and not block.skip_time_act
        and block.dropout.p == 0
        and block.output_scale_factor == 1
        and isinstance(block.nonlinearity, nn.SiLU)
    )


class LeanResnetBlock(ResnetBlock2D):
    """A plain ResnetBlock2D that keeps the inputs of its norms and nothing else of their size."""

    def forward(self, input_tensor: Tensor, temb: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(B, c, h, w), (B, E) -> (B, C, h, w)."""
        hidden = self.conv1(normalised_silu(input_tensor, self.norm1))
        hidden = hidden + self.time_emb_proj(F.silu(temb))[..., None, None]
        hidden = self.conv2(normalised_silu(hidden, self.norm2))
        shortcut = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return hidden + shortcut


def normalised_silu(input: Tensor, norm: nn.GroupNorm) -> Tensor:
    """`F.silu(norm(input))`, (B, c, h, w) -> (B, c, h, w)."""
    return NormalisedSilu.apply(input.contiguous(), norm.num_groups, norm.weight, norm.bias, norm.eps)


class NormalisedSilu(torch.autograd.Function):
    """`F.silu(F.group_norm(...))` that computes its middle again instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        batch, channels, height, width = input.shape
        ctx.eps = eps
        ctx.sizes = batch, channels, height * width, groups
        normalised, mean, scale = aten.native_group_norm(input, weight, bias, *ctx.sizes, eps)
        ctx.save_for_backward(input, weight, bias, mean, scale)
        return F.silu(normalised, inplace=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, bias, mean, scale = ctx.saved_tensors
        normalised, *_ = aten.native_group_norm(input, weight, bias, *ctx.sizes, ctx.eps)
        gradient = aten.silu_backward(gradients[0].contiguous(), normalised)
        only_input = [True, False, False]
        gradient, *_ = aten.native_group_norm_backward(gradient, input, mean, scale, weight, *ctx.sizes, only_input)
        return gradient, None, None, None, None


class LeanGEGLU(GEGLU):
    """A GEGLU that keeps two tensors of its output's size instead of three."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(B, L, D) -> (B, L, E)."""
        return Gated.apply(self.proj(hidden_states))


class Gated(torch.autograd.Function):
    """`hidden * gelu(gate)` that keeps its two derivatives instead of hidden, gate and gelu(gate)."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        hidden, gate = both.chunk(2, dim=-1)
        by_hidden = F.gelu(gate)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(by_hidden, aten.gelu_backward(hidden, gate))
        return hidden * by_hidden

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        by_hidden, by_gate = ctx.saved_tensors
        (output,) = gradients
        both = output.new_empty(*output.shape[:-1], 2, output.shape[-1])
        torch.mul(output, by_hidden, out=both[..., 0, :])
        torch.mul(output, by_gate, out=both[..., 1, :])
        return both.flatten(-2)
