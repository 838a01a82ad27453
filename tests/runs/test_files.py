"""Where the files of a run lie."""

from __future__ import annotations

from pathlib import Path

from tests.run_folders import DOG, settings
from ti_trainer.runs.folder import RunFolder


def test_layout(tmp_path: Path) -> None:
    one, two = RunFolder(settings(tmp_path)), RunFolder(settings(tmp_path, concept=DOG, name="other"))

    def places(folder: RunFolder) -> list[str]:
        paths = [
            folder.files.config,
            folder.files.metrics,
            folder.files.loss_plot,
            folder.files.before_after,
            folder.files.preview(100),
        ]
        paths += [folder.files.embedding, folder.files.diffusers_embedding(), folder.files.diffusers_embedding("_2")]
        return [str(path.relative_to(tmp_path / "runs")) for path in paths]

    same = ["config.yaml", "metrics.jsonl", "loss.png", "before_after.png", "previews/step-000100.png"]
    assert places(one) == [
        *(f"cat/{name}" for name in same),
        "cat/cat.safetensors",
        "cat/diffusers/learned_embeds.safetensors",
        "cat/diffusers/learned_embeds_2.safetensors",
    ]
    assert places(two) == [
        *(f"other/{name}" for name in same),
        "other/dog-tuned.safetensors",
        "other/diffusers/learned_embeds.safetensors",
        "other/diffusers/learned_embeds_2.safetensors",
    ]
