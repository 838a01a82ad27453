"""What the files of a model say of its parts is what the loaded parts say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ti_trainer import ModelConfig
from ti_trainer.families.facts import read_parts
from ti_trainer.families.model_index import model_index
from ti_trainer.families.parts import parts_of


def test_files_and_loaded_parts_agree(any_model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    """The same parts of the same classes; and every entry of a config file is in the loaded part's config."""
    config = ModelConfig(model=str(any_model))
    read = read_parts(config, str(any_model), model_index(config, str(any_model)))
    loaded = parts_of(reference_pipeline(any_model))
    assert set(read) == set(loaded)
    for name, part in read.items():
        assert part.class_name == loaded[name].class_name
        own = json.loads(json.dumps(dict(loaded[name].config), default=str))  # tuples are lists in JSON
        for entry, value in part.config.items():
            if not entry.startswith("_") and entry not in ("architectures", "dtype", "transformers_version"):
                assert own[entry] == value, (name, entry)


def test_parts_that_are_missing_are_no_parts(model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    pipeline = reference_pipeline(model)
    assert pipeline.safety_checker is None
    parts = parts_of(pipeline)
    assert set(parts) == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert parts["tokenizer"].config == {}
    assert parts["text_encoder"].config["hidden_size"] == 32
