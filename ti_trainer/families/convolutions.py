"""Convolutions whose weights are frozen, on CPUs: what their backward pass needs, and what is fastest where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

# Weights so many times as large as input and output together make a product of matrices the faster way: oneDNN
# rearranges the weights at every call, which in the inner blocks of a U-Net is most of its work (benchmarks/README.md).
OUTWEIGHED = 4
# With so few columns a product reads its large factor faster row by row, as it lies in memory, than transposed.
FEW = 64


class FrozenConv2d(nn.Conv2d):
    """A convolution that keeps no activations for its backward pass.

    torch keeps the input of every convolution for the gradient of its weights, which nobody asks for here.
    """

    padding: tuple[int, int]  # never "same" or "valid": see is_plain
    kernel_size: tuple[int, int]
    stride: tuple[int, int]

    def forward(self, input: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W)."""
        return Convolution.apply(input, self.weight, self.bias, self.columns(input))

    def columns(self, input: Tensor) -> Columns:
        return Columns(tuple(input.shape), self.out_channels, self.kernel_size, self.stride, self.padding)


class Convolution(torch.autograd.Function):
    """`F.conv2d` that remembers the shape of its input instead of the input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, columns: Columns) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.columns = columns
        if not columns.are_faster():
            return F.conv2d(input, weight, bias, columns.stride, columns.padding)
        output = weight.flatten(1) @ columns.unfold(input)  # (C, B * H * W)
        if bias is not None:
            output += bias[:, None]
        return output.unflatten(1, (len(input), *columns.sides)).transpose(0, 1)  # (B, C, H, W)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (output,), columns = ctx.saved_tensors, gradients, ctx.columns  # output: its gradient
        if not columns.are_faster():
            input = conv2d_input(columns.shape, weight, output, columns.stride, columns.padding)
            return input, None, None, None
        output, weight = output.transpose(0, 1).flatten(1), weight.flatten(1)  # (C, B * H * W), (C, c * kernel)
        few = output.shape[1] <= FEW
        product = (output.T @ weight).T.contiguous() if few else weight.T @ output  # (c * kernel, B * H * W)
        return columns.fold(product), None, None, None


@dataclass(frozen=True)
class Columns:
    """The input of a convolution as a matrix that its weights are multiplied with: (c * kernel, B * H * W).

    torch's own `unfold` and `fold` are two to four times as slow, and go picture by picture.
    """

    shape: tuple[int, ...]  # of the input: B, c, h, w
    channels: int  # of the output
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (side + 2 * padding - kernel) // stride + 1
            for side, padding, kernel, stride in zip(
                self.shape[2:], self.padding, self.kernel, self.stride, strict=True
            )
        )
        return height, width

    def are_the_input(self) -> bool:
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def are_faster(self) -> bool:
        if self.are_the_input() and self.shape[0] == 1:
            return True
        (batch, channels, height, width), (kernel_y, kernel_x), (out_y, out_x) = self.shape, self.kernel, self.sides
        pictures = batch * (channels * height * width + self.channels * out_y * out_x)
        return channels * self.channels * kernel_y * kernel_x > OUTWEIGHED * pictures

    def unfold(self, input: Tensor) -> Tensor:
        """(B, c, h, w) -> (c * kernel, B * H * W)."""
        if self.are_the_input():
            return input.transpose(0, 1).flatten(1)
        batch, channels, *_ = self.shape
        columns = input.new_empty(channels, self.kernel[0] * self.kernel[1], batch, *self.sides)
        for offset, pixels in enumerate(self.shifted(F.pad(input, self.margins))):
            columns[:, offset] = pixels
        return columns.flatten(2).flatten(0, 1)

    def fold(self, columns: Tensor) -> Tensor:
        """(c * kernel, B * H * W) -> (B, c, h, w), where columns that came from one pixel add up."""
        batch, channels, height, width = self.shape
        if self.are_the_input():
            return columns.unflatten(1, (batch, height, width)).transpose(0, 1)
        columns = columns.view(channels, -1, batch, *self.sides)
        down, right = self.padding
        padded = columns.new_zeros(batch, channels, height + 2 * down, width + 2 * right)
        for offset, pixels in enumerate(self.shifted(padded)):
            pixels += columns[:, offset]
        return padded[:, :, down : down + height, right : right + width]

    @property
    def margins(self) -> tuple[int, int, int, int]:
        down, right = self.padding
        return right, right, down, down

    def shifted(self, padded: Tensor) -> Iterator[Tensor]:
        """For each element of the kernel the pixels that it meets, a view (c, B, H, W)."""
        (stride_y, stride_x), (height, width) = self.stride, self.sides
        for y in range(self.kernel[0]):
            for x in range(self.kernel[1]):
                rows = slice(y, y + stride_y * (height - 1) + 1, stride_y)
                yield padded[:, :, rows, x : x + stride_x * (width - 1) + 1 : stride_x].transpose(0, 1)


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
