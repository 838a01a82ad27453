"""What a model's folder lists, of pipelines and of modular ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import TINY_MODELS
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families.model_index import check_parts, missing_in, model_index, parts_in


def read(folder: Path) -> dict[str, Any]:
    return model_index(ModelConfig(model=str(folder)), str(folder))


def test_either_file_says_what_the_parts_are(any_model: Path) -> None:
    index = read(any_model)
    assert index["_class_name"] == TINY_MODELS[any_model.name].pipeline
    parts = parts_in(index)
    assert {"vae", "scheduler", "tokenizer", "text_encoder"} <= set(parts)
    assert "safety_checker" not in parts
    check_parts(any_model, index, ())


def test_parts_that_a_model_does_without(tiny_models: dict[str, Path]) -> None:
    assert {"text_encoder_3", "tokenizer_3"} <= set(missing_in(read(tiny_models["sd35-without-t5"])))
    assert "text_encoder_3" not in parts_in(read(tiny_models["sd35-without-t5"]))
    assert "text_encoder_3" not in missing_in(read(tiny_models["sd3"]))


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"_class_name": 3})])
def test_files_that_are_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(BadInput, match="the model folder is damaged"):
        read(tmp_path)
