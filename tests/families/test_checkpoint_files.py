"""Names of tensors in checkpoint files; what is loaded of them is tested in test_loading.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ti_trainer.families.checkpoint_files import named_as_now, with_names_of_now


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("cond_stage_model.transformer.encoder.x", "cond_stage_model.transformer.text_model.encoder.x"),
        ("cond_stage_model.transformer.embeddings.x", "cond_stage_model.transformer.text_model.embeddings.x"),
        ("cond_stage_model.transformer.text_model.encoder.x", "cond_stage_model.transformer.text_model.encoder.x"),
        ("cond_stage_model.model.transformer.x", "cond_stage_model.model.transformer.x"),
        ("first_stage_model.encoder.x", "first_stage_model.encoder.x"),
    ],
)
def test_names(name: str, now: str) -> None:
    assert named_as_now(name) == now


def test_a_copy_only_where_it_is_needed(tmp_path: Path) -> None:
    """It is gone afterwards, and the file is as it was."""
    file = tmp_path / "old.safetensors"
    for name, is_old in (("cond_stage_model.transformer.encoder.x", True), ("model.diffusion_model.x", False)):
        save_file({name: torch.ones(2)}, file)
        with with_names_of_now(file, {name}) as copy:
            assert (copy != file) == is_old
            assert set(load_file(copy)) == {named_as_now(name)}
        assert copy.exists() != is_old
        assert set(load_file(file)) == {name}
