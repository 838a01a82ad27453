"""The miniature of a flow: what trains it is what the family of its pipeline computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from sample_data.world.flow import TINY_FLOW, Flow, build_t5_tokenizer, random_levels, write_flow
from sample_data.world.pictures import caption
from sample_data.world.training import Draws
from ti_trainer import ModelConfig
from ti_trainer.config.bundled import sample_data
from ti_trainer.families import load_family

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flow, Path]:
    """An untrained one, and the folder of its pipeline."""
    work = tmp_path_factory.mktemp("world")
    model = Flow().eval()
    torch.save({"average": AveragedModel(model).state_dict()}, work / "flow.pt")
    write_flow(work, sample_data("tiny-sd").parent)
    return model, work / TINY_FLOW


def test_it_is_trained_as_it_is_read(flow: tuple[Flow, Path]) -> None:
    """Captions of several lengths, and none: against the family of the pipeline that was written."""
    model, folder = flow
    family = load_family(ModelConfig(model=str(folder)), CPU, torch.float32)
    captions = [caption(3, 0), "a cat", ""]
    noisy = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        found = model(noisy, levels, captions)
        wanted = family.predict(noisy, 1000 * levels, family.encode_text(captions), torch.zeros(3, 6))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (family.spec.resolution, family.spec.pixels_per_latent) == (64, 4)
    assert family.schedule.sample_timesteps(torch.tensor([0.3]), (16, 16)).item() == pytest.approx(300)


def test_loss_written_out(flow: tuple[Flow, Path]) -> None:
    model, _ = flow
    posteriors = torch.rand(2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.25, 0.75])
    with torch.no_grad():
        found = model.squared_errors(posteriors, ["a cat", "a red dog"], levels, Draws("x", 0))
        draws: Any = Draws("x", 0)
        clean = posteriors[:, :4] + posteriors[:, 4:] * draws.normal_like(posteriors[:, :4])
        noise = draws.normal_like(clean)
        for number, level in enumerate(levels.tolist()):
            one = slice(number, number + 1)
            noisy = (1 - level) * clean[one] + level * noise[one]
            velocity = model(noisy, levels[one], [["a cat", "a red dog"][number]])
            wanted = (velocity - (noise - clean)[one]).square().mean()
            torch.testing.assert_close(found[number], wanted, rtol=1e-4, atol=1e-6)


def test_every_word_of_the_world_is_a_token() -> None:
    tokenizer = build_t5_tokenizer()
    text = "a photo of a striped orange cat with a blue collar on the beach"
    assert len(tokenizer(text).input_ids) == len(text.split()) + 1
    assert tokenizer.unk_token_id not in tokenizer(f"{text}, {caption(7, 0)}").input_ids


def test_levels_are_logit_normal() -> None:
    levels = random_levels(20_000, Draws("x", 0)).logit()
    assert levels.mean().item() == pytest.approx(0, abs=0.03)
    assert levels.std().item() == pytest.approx(1, abs=0.03)
