"""Convolutions whose weights are frozen, on CPUs: what their backward pass needs, and what is fastest where."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

# Weights so many times as large as input and output together make a product of matrices the faster way: oneDNN
# rearranges the weights at every call, which in the inner blocks of a U-Net is most of its work (benchmarks/README.md).
OUTWEIGHED = 10


class FrozenConv2d(nn.Conv2d):
    """A convolution that keeps no activations for its backward pass.

    torch keeps the input of every convolution for the gradient of its weights, which nobody asks for here.
    """

    padding: tuple[int, ...]  # never "same" or "valid": see is_plain

    def forward(self, input: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W)."""
        if self.weights_outweigh(input):
            return self.as_product(input)
        return Convolution.apply(input, self.weight, self.bias, self.stride, self.padding)

    def weights_outweigh(self, input: Tensor) -> bool:
        height, width = self.output_size(input)
        pictures = input.numel() + len(input) * self.out_channels * height * width
        return self.weight.numel() > OUTWEIGHED * pictures

    def output_size(self, input: Tensor) -> tuple[int, int]:
        height, width = (
            (side + 2 * padding - kernel) // stride + 1
            for side, padding, kernel, stride in zip(
                input.shape[2:], self.padding, self.kernel_size, self.stride, strict=True
            )
        )
        return height, width

    def as_product(self, input: Tensor) -> Tensor:
        """The same by one product of matrices, whose backward pass needs only the weights."""
        columns = F.unfold(input, self.kernel_size, padding=self.padding, stride=self.stride)  # (B, c * kernel, H * W)
        output = self.weight.flatten(1) @ columns.transpose(0, 1).flatten(1)  # (C, B * H * W)
        if self.bias is not None:
            output = output + self.bias[:, None]
        return output.unflatten(1, (len(input), *self.output_size(input))).transpose(0, 1)  # (B, C, H, W)


class Convolution(torch.autograd.Function):
    """`F.conv2d` that remembers the shape of its input instead of the input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding = input.shape, stride, padding
        return F.conv2d(input, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (output,) = ctx.saved_tensors, gradients  # output: its gradient, (B, C, H, W)
        return conv2d_input(ctx.shape, weight, output, ctx.stride, ctx.padding), None, None, None, None


def freeze_convolutions(model: nn.Module) -> None:
    """Make every plain convolution of a frozen model a FrozenConv2d; its weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and is_plain(module):
            module.__class__ = FrozenConv2d


def is_plain(convolution: nn.Conv2d) -> bool:
    return (
        convolution.groups == 1
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )
