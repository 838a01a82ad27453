import pytest
import torch

from ti_trainer.processes import choose_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
@pytest.mark.parametrize("launched_with", ["no", "bf16", "fp16", "fp8"])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_was_asked_for_comes_first(
    precision: str, dtype: torch.dtype, launched_with: str, device: torch.device
) -> None:
    assert choose_dtype(precision, launched_with, device) == dtype


@pytest.mark.parametrize(("launched_with", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_auto_is_what_accelerate_was_told(launched_with: str, dtype: torch.dtype, device: torch.device) -> None:
    assert choose_dtype("auto", launched_with, device) == dtype


@pytest.mark.parametrize("has_bf16", [False, True])
def test_auto_by_device(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert choose_dtype("auto", "no", CUDA) == (torch.bfloat16 if has_bf16 else torch.float32)
    assert choose_dtype("auto", "no", CPU) == torch.float32
    assert choose_dtype("auto", "no", torch.device("mps")) == torch.float32
