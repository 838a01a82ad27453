"""Half precision and gradient checkpointing change the memory, not what is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ti_trainer import TrainConfig, train
from ti_trainer.embedding_files import read_embedding
from ti_trainer.families import load_family
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import load_model, prepare
from ti_trainer.training.processes import Processes
from ti_trainer.training.step import SharedStep, largest_batch


def gradients(config: TrainConfig) -> dict[str, Tensor]:
    processes = Processes(config.precision)
    session = prepare(config, partial(load_model, config, processes.device, processes.dtype))
    SharedStep(session.family, processes, largest_batch(config)).backward([Learner(session)])
    return {slot: rows.grad.clone() for slot, rows in session.rows.items() if rows.grad is not None}


U_NETS_AND_FLOWS = ["sd1", "sdxl-eps", "sd3", "flux1"]
# diffusers rounds the timesteps that these are told to the 8 bits of bf16, which random weights make much of
ROUNDED = ["chroma", "anima", "flux2-klein"]


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("bf16", kind) for kind in U_NETS_AND_FLOWS] + [("fp16", kind) for kind in U_NETS_AND_FLOWS + ROUNDED],
)
def test_gradients_in_half_precision(
    kind: str, precision: str, tiny_models: dict[str, Path], make_config: Callable[..., TrainConfig]
) -> None:
    """float32 rows and gradients, in the direction that full precision finds: 8 and 11 bits of mantissa."""
    config = make_config(model=str(tiny_models[kind]))
    exact, found = gradients(config), gradients(replace(config, precision=precision))
    assert set(found) == set(exact)
    for slot, gradient in found.items():
        assert gradient.dtype == torch.float32
        cosines = F.cosine_similarity(gradient, exact[slot], dim=1)
        assert cosines.min() > (0.98 if precision == "bf16" else 0.999)
        torch.testing.assert_close(gradient.norm(), exact[slot].norm(), rtol=0.1, atol=0)


def test_a_run_in_half_precision_leaves_float32_rows(
    tiny_models: dict[str, Path], make_config: Callable[..., TrainConfig]
) -> None:
    """Pictures are drawn before and after; steps smaller than half precision resolves are not lost."""
    config = make_config(
        model=str(tiny_models["sdxl-eps"]), precision="bf16", steps=2, lr=1e-6, validate_every=0, plots=True
    )
    run = train(config)
    start = prepare(config, partial(load_model, config, torch.device("cpu"), torch.bfloat16)).rows
    for slot, rows in read_embedding(run.embedding).fit({"clip_l": 32, "clip_g": 40}).items():
        moved = (rows - start[slot]).abs()
        assert rows.dtype == torch.float32
        assert 0 < moved.max() < 1e-5
        assert not torch.equal(rows, rows.bfloat16().float())
    assert (Path(run.folder) / "before_after.png").exists()


def test_gradient_checkpointing_changes_nothing(any_model: Path, make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(model=str(any_model))
    with_checkpoints = replace(config, gradient_checkpointing=True)
    plain, checkpointed = gradients(config), gradients(with_checkpoints)
    for each in (config, with_checkpoints):
        family = load_family(each, torch.device("cpu"), torch.float32)
        assert family.denoiser.is_gradient_checkpointing is bool(each.gradient_checkpointing)
    assert set(plain) == set(checkpointed)
    for slot, gradient in checkpointed.items():
        torch.testing.assert_close(gradient, plain[slot], rtol=1e-5, atol=1e-8)
