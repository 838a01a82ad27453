"""Settings of a model: the same for all concepts of a job, and nothing that a row of a list may set."""

from __future__ import annotations

from ti_trainer.config.config import TrainConfig
from ti_trainer.config.fields import settings_of
from ti_trainer.config.model import ModelConfig


def test_they_are_shared_and_no_rows() -> None:
    own = settings_of(ModelConfig)
    assert {"model", "revision", "allow_pickle", "clip_skip"} <= own.keys() <= settings_of(TrainConfig).keys()
    assert not any(setting.about.row for setting in own.values())
    assert {name for name, setting in own.items() if not setting.about.shared} == {"models_dir"}
