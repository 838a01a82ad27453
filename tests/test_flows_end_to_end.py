"""The configs of the flows as a user starts them, on tiny models: files with the keys that programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ti_trainer import load_into_pipeline
from ti_trainer.cli import main
from ti_trainer.families.slots import text_slots
from ti_trainer.families.table import FAMILIES

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
# config -> tiny model, keys of the file and their widths, how its architecture in ModelSpec begins
CONFIGS = {
    "sd3": ("sd3", {"clip_l": 32, "clip_g": 40, "t5xxl": 80}, "stable-diffusion-3"),
    "flux": ("flux1", {"clip_l": 32, "t5xxl": 80}, "flux-1-dev"),
    "chroma": ("chroma", {"t5xxl": 80}, "chroma"),
    "anima": ("anima", {"qwen3_06b": 32}, "anima"),
    "flux2-klein": ("flux2-klein", {"qwen3_4b": 16}, "flux-2-klein-4b"),
}
SMALL = [
    *("--steps", "5", "--validation_samples", "2", "--validate_every", "0", "--resolution", "32"),
    *("--precision", "fp32", "--preview_steps", "2", "--images", "sample_data/my-cat", "--init", "cat"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config(
    config: str,
    tiny_models: dict[str, Path],
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, widths, architecture = CONFIGS[config]
    monkeypatch.chdir(ROOT)
    how = ["--config", f"configs/{config}.yaml", "--model", str(tiny_models[kind]), "--token", "<my-cat>"]
    assert main(["train", *how, *SMALL, "--output", str(tmp_path)]) == 0
    file = tmp_path / "my-cat" / "my-cat.safetensors"
    rows = load_file(file)
    assert {key: tensor.shape[1] for key, tensor in rows.items()} == widths
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["modelspec.architecture"] == f"{architecture}/textual-inversion"
    assert metadata["modelspec.prediction_type"] == "flow_prediction"
    pipeline = reference_pipeline(tiny_models[kind])
    words = load_into_pipeline(pipeline, file).split()
    for slot in text_slots(pipeline, FAMILIES[type(pipeline).__name__].kinds):
        names = [words[0], *(f"{words[0]}_{number}" for number in range(1, len(rows[slot.name])))]
        ids = torch.tensor(slot.tokenizer.convert_tokens_to_ids(names))
        assert torch.equal(slot.table[ids], rows[slot.name])
