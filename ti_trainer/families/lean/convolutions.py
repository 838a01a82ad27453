"""Convolutions whose weights are frozen, on CPUs: what their backward pass needs, and what is fastest where."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

Pair: TypeAlias = tuple[int, int]

# Weights so many times as large as input and output together make a product of matrices the faster way: oneDNN
# rearranges the weights at every call, which in the inner blocks of a U-Net is most of its work (benchmarks/README.md).
OUTWEIGHED = 10
# With so few columns a product reads its large factor faster row by row, as it lies in memory, than transposed.
FEW = 64
# So many elements are added up faster by shifted sums than by torch's `fold`, whose loops are not vectorised.
MANY = 2**20


class FrozenConv2d(nn.Conv2d):
    """A convolution that keeps no activations for its backward pass.

    torch keeps the input of every convolution for the gradient of its weights, which nobody asks for here.
    """

    padding: tuple[int, int]  # never "same" or "valid": see is_plain
    stride: tuple[int, int]

    def forward(self, input: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W)."""
        as_product = self.product_is_faster(input)
        return Convolution.apply(input, self.weight, self.bias, self.stride, self.padding, as_product)

    def product_is_faster(self, input: Tensor) -> bool:
        """Whether a product of matrices is faster than torch's convolution for an input (B, c, h, w)."""
        if len(input) == 1 and is_pointwise(self.weight, self.stride, self.padding):
            return True  # without a copy
        height, width = output_sides(input.shape, self.weight, self.stride, self.padding)
        pictures = input.numel() + len(input) * self.out_channels * height * width
        return self.weight.numel() > OUTWEIGHED * pictures


class Convolution(torch.autograd.Function):
    """`F.conv2d` that remembers the shape of its input instead of the input."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, as_product: bool
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape = input.shape
        ctx.stride = stride
        ctx.padding = padding
        ctx.as_product = as_product
        if not as_product:
            return F.conv2d(input, weight, bias, stride, padding)
        output = weight.flatten(1) @ unfold(input, weight, stride, padding)  # (C, B * H * W)
        if bias is not None:
            output += bias[:, None]
        sides = output_sides(input.shape, weight, stride, padding)
        return output.unflatten(1, (len(input), *sides)).transpose(0, 1)  # (B, C, H, W)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (output,) = gradients  # its gradient, (B, C, H, W)
        if not ctx.as_product:
            input = conv2d_input(ctx.shape, weight, output, ctx.stride, ctx.padding)
            return input, None, None, None, None, None
        output = output.transpose(0, 1).flatten(1)  # (C, B * H * W)
        rows = weight.flatten(1)  # (C, c * kernel)
        columns = (output.T @ rows).T if output.shape[1] <= FEW else rows.T @ output  # (c * kernel, B * H * W)
        return fold(columns, ctx.shape, weight, ctx.stride, ctx.padding), None, None, None, None, None


def unfold(input: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """What the weights are multiplied with: (B, c, h, w) -> (c * kernel, B * H * W)."""
    if is_pointwise(weight, stride, padding):
        return input.transpose(0, 1).flatten(1)
    columns = F.unfold(input, weight.shape[2:], padding=padding, stride=stride)  # (B, c * kernel, H * W)
    return columns.transpose(0, 1).flatten(1)


def fold(columns: Tensor, shape: Sequence[int], weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """(c * kernel, B * H * W) -> (B, c, h, w), where columns that came from one pixel add up."""
    batch, channels, height, width = shape
    if is_pointwise(weight, stride, padding):
        return columns.unflatten(1, (batch, height, width)).transpose(0, 1)
    kernel = weight.shape[2:]
    sides = output_sides(shape, weight, stride, padding)
    if columns.numel() < MANY:
        columns = columns.unflatten(1, (batch, -1)).transpose(0, 1)  # (B, c * kernel, H * W)
        return F.fold(columns, (height, width), kernel, padding=padding, stride=stride)
    columns = columns.unflatten(1, (batch, *sides)).unflatten(0, (channels, *kernel))  # (c, kernel, kernel, B, H, W)
    padded = columns.new_zeros(channels, batch, height + 2 * padding[0], width + 2 * padding[1])
    for y, x in product(*map(range, kernel)):
        below, right = (
            slice(start, start + step * (side - 1) + 1, step)
            for start, step, side in zip((y, x), stride, sides, strict=True)
        )
        padded[:, :, below, right] += columns[:, y, x]
    return padded.narrow(2, padding[0], height).narrow(3, padding[1], width).transpose(0, 1)


def is_pointwise(weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether each pixel of the output is computed from one pixel of the input."""
    return weight.shape[2:] == stride == (1, 1) and padding == (0, 0)


def output_sides(shape: Sequence[int], weight: Tensor, stride: Pair, padding: Pair) -> tuple[int, int]:
    """Height and width of a convolution's output; shape: (B, c, h, w) of its input."""
    height, width = (
        (side + 2 * margin - kernel) // step + 1
        for side, margin, kernel, step in zip(shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    return height, width


def freeze_convolutions(model: nn.Module) -> None:
    """Make every plain convolution of a frozen model a FrozenConv2d; its weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and is_plain(module):
            module.__class__ = FrozenConv2d


def is_plain(convolution: nn.Conv2d) -> bool:
    """Whether FrozenConv2d computes it: not in groups, dilated, or padded with anything but zeros."""
    return (
        convolution.groups == 1
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )
