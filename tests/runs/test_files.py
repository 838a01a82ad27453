"""Where the files of a run lie."""

from __future__ import annotations

from pathlib import Path

from tests.run_folders import DOG, checkpoint, settings
from ti_trainer.runs.folder import RunFolder


def test_layout(tmp_path: Path) -> None:
    one, two = RunFolder(settings(tmp_path)), RunFolder(settings(tmp_path, concept=DOG, name="other"))

    def places(folder: RunFolder) -> list[str]:
        paths = [
            folder.files.config,
            folder.files.metrics,
            folder.files.loss_plot,
            folder.files.before_after,
            folder.files.previews,
            folder.files.preview(100, 2),
            folder.files.embedding_of_step(100),
        ]
        paths += [folder.files.embedding, folder.files.diffusers_embedding(), folder.files.diffusers_embedding("_2")]
        return [str(path.relative_to(tmp_path / "runs")) for path in paths]

    same = [
        "config.yaml",
        "metrics.jsonl",
        "loss.png",
        "before_after.png",
        "previews.png",
        "previews/step-000100-2.png",
    ]
    assert places(one) == [
        *(f"cat/{name}" for name in same),
        "cat/embeddings/cat-000100.safetensors",
        "cat/cat.safetensors",
        "cat/diffusers/learned_embeds.safetensors",
        "cat/diffusers/learned_embeds_2.safetensors",
    ]
    assert places(two) == [
        *(f"other/{name}" for name in same),
        "other/embeddings/dog-tuned-000100.safetensors",
        "other/dog-tuned.safetensors",
        "other/diffusers/learned_embeds.safetensors",
        "other/diffusers/learned_embeds_2.safetensors",
    ]


def test_what_is_of_later_steps(tmp_path: Path) -> None:
    """Embeddings and pictures that the run has named, and nothing that somebody else has put beside them."""
    folder = RunFolder(settings(tmp_path))
    files = folder.files
    own = [files.embedding_of_step(step) for step in (5, 10)] + [files.preview(step, 1) for step in (0, 5, 10)]
    others = [files.root / "embeddings" / "dog-000010.safetensors", files.root / "previews" / "step-000010-1.txt"]
    for path in (*own, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert files.after(5) == [own[1], own[4]]
    assert files.after(10) == []
    assert files.preview_steps() == [0, 5, 10]
    folder.checkpoints.save(checkpoint(10))
    folder.drop_after(5)
    assert folder.checkpoints.steps() == []
    assert sorted(path for path in (*own, *others) if path.exists()) == sorted([own[0], own[2], own[3], *others])
