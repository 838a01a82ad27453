"""What benchmarks/operations.py counts, against closed forms."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_counted_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a product, of attention and of a convolution, forward and backward without weight gradients: closed forms."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from operations import count

    with torch.device("meta"):
        x, w = torch.empty(3, 5, requires_grad=True), torch.empty(5, 7)
        forward, y = count(lambda: x @ w, [w])
        backward, _ = count(lambda: y.backward(torch.empty_like(y)))
        assert forward.flops == backward.flops == 2 * 3 * 5 * 7
        assert forward.bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7)
        assert forward.kept == 0

        q, k, v = (torch.empty(2, 4, length, 8, requires_grad=True) for length in (6, 9, 9))
        forward, y = count(lambda: F.scaled_dot_product_attention(q, k, v))
        backward, _ = count(lambda: y.backward(torch.empty_like(y)))
        assert forward.flops == 2 * 2 * (2 * 4 * 6 * 9 * 8)
        assert backward.flops == 4 * 2 * (2 * 4 * 6 * 9 * 8)

        x, w = torch.empty(1, 3, 10, 10, requires_grad=True), torch.empty(5, 3, 3, 3)
        forward, y = count(lambda: F.conv2d(x, w, padding=1), [w])
        backward, _ = count(lambda: y.backward(torch.empty_like(y)))
        assert forward.flops == backward.flops == 2 * 10 * 10 * 5 * 3 * 3 * 3
        assert forward.kept == x.numel() * 4
