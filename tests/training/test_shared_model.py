"""The model of a job: loaded once, when somebody asks, and planned for those who share it."""

from __future__ import annotations

import pytest
import torch

import ti_trainer.training.shared_model
from tests.running import MakeConfig
from ti_trainer import TrainConfig
from ti_trainer.families import Family, load_family
from ti_trainer.training.prepare import prepare
from ti_trainer.training.processes import Processes
from ti_trainer.training.shared_model import SharedModel


def test_it_is_loaded_once_and_let_go(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Family] = []

    def load(config: TrainConfig, device: torch.device, dtype: torch.dtype) -> Family:
        loaded.append(load_family(config, device, dtype))
        return loaded[-1]

    monkeypatch.setattr(ti_trainer.training.shared_model, "load_model", load)
    config = make_config(batch_size=3)
    model = SharedModel(config, Processes("fp32"))
    assert loaded == []
    assert model.load() is model.load() is loaded[0]
    assert not model.is_planned
    session = prepare(config, model.load)
    model.make_plan(session, 12)
    assert model.is_planned
    assert model.plan.micro_batch == 12
    assert model.step.family is loaded[0]
    assert model.step.largest(session.data.shape) >= 12
    session.close()
    model.let_go()
    assert not model.is_planned
    assert model.load() is not loaded[0]
