"""Arms mean what their names say: the rows of a file, of a checkpoint, or none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.running import checkpoint
from ti_trainer import BadInput, Run
from ti_trainer.embedding_files import Embedding, read_embedding
from ti_trainer.families import Family, load_with_embeddings
from ti_trainer.reports.arms import (
    Arm,
    checkpoint_arms,
    class_arm,
    embedding_arm,
    export_checkpoint,
    read_subject,
)

TOKEN = "<my-cat>"


def context(family: Family, arm: Arm) -> torch.Tensor:
    return family.encode_text([f"a {arm.word}"], [arm.owner]).context


def test_arms_are_read_with_their_own_rows(family: Family, finished_run: Run) -> None:
    """Also those of one token, and a class word that is itself somebody's token."""
    learned = read_embedding(finished_run.embedding)
    other = Embedding(TOKEN, {"clip_l": -learned.vectors["clip_l"]})
    word = Embedding("cat", {"clip_l": learned.vectors["clip_l"][:1]})
    plain = family.encode_text(["a cat"]).context
    arms = [embedding_arm(family, each, name) for each, name in ((learned, TOKEN), (other, "x"), (word, "cat.pt"))]
    for arm, embedding in zip(arms, (learned, other, word), strict=True):
        alone = load_with_embeddings(family.config, [embedding])
        assert torch.equal(context(family, arm), alone.encode_text([f"a {embedding.token}"]).context)
    assert torch.equal(context(family, class_arm("cat")), plain)
    assert not torch.equal(context(family, arms[2]), plain)


def test_a_run_is_named_by_its_folder(finished_run: Run) -> None:
    subject = read_subject(str(finished_run.folder))
    assert subject.embedding.source == str(finished_run.embedding)
    assert subject.config is not None
    assert subject.config.concept.token == TOKEN
    alone = read_subject(str(finished_run.embedding))
    assert (alone.config, alone.checkpoints) == (None, None)


def test_checkpoints_are_arms(family: Family, finished_run: Run) -> None:
    subject = read_subject(str(finished_run.folder))
    arms = checkpoint_arms(family, subject)
    assert [(arm.name, arm.step) for arm in arms] == [(f"step {step}", step) for step in (0, 2, 4, 6, 8)]
    for arm in arms:
        rows = checkpoint(Path(finished_run.folder), arm.step)["rows.clip_l"]
        alone = load_with_embeddings(family.config, [Embedding(TOKEN, {"clip_l": rows})])
        assert torch.equal(context(family, arm), alone.encode_text([f"a {TOKEN}"]).context)


def test_checkpoints_of_two_text_encoders(tiny_models: dict[str, Path], base_settings: dict, tmp_path: Path) -> None:
    from ti_trainer import train
    from ti_trainer.config.settings import config_from_mapping

    model = str(tiny_models["sdxl-eps"])
    settings = {**base_settings, "model": model, "steps": 2, "plots": False, "output": str(tmp_path)}
    run = train(config_from_mapping(settings))
    rows = read_subject(str(run.folder)).rows_at(2)
    saved = checkpoint(Path(run.folder), 2)
    assert list(rows) == ["clip_g", "clip_l"]
    assert all(torch.equal(rows[slot], saved[f"rows.{slot}"]) for slot in rows)


def test_export_is_the_checkpoint_with_the_runs_metadata(finished_run: Run, tmp_path: Path) -> None:
    subject = read_subject(str(finished_run.folder))
    export_checkpoint(subject, 2, "identity (a judge)", tmp_path / "my-cat.safetensors")
    rows = load_file(tmp_path / "my-cat.safetensors")["emb_params"]
    assert torch.equal(rows, checkpoint(Path(finished_run.folder), 2)["rows.clip_l"])
    found = read_embedding(tmp_path / "my-cat.safetensors")
    changed = {"ti_trainer.step": "2", "ti_trainer.chosen_by": "identity (a judge)"}
    wanted = {**read_embedding(finished_run.embedding).metadata, **changed}
    hashes = [own.pop("modelspec.hash_sha256") for own in (found.metadata, wanted)]  # of the rows
    assert found.metadata == wanted
    assert hashes[0] != hashes[1]
    assert found.token == TOKEN


def test_what_is_no_subject(family: Family, finished_run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(f"{tmp_path} is a folder without config.yaml; give an embedding")):
        read_subject(str(tmp_path))
    unfinished = shutil.copytree(finished_run.folder, tmp_path / "run")
    (unfinished / "my-cat.safetensors").unlink()
    with pytest.raises(BadInput, match=r"run has no my-cat\.safetensors yet; let its run end"):
        read_subject(str(unfinished))
    with pytest.raises(BadInput, match=r"my-cat\.safetensors holds no checkpoints; give the folder of a run"):
        checkpoint_arms(family, read_subject(str(finished_run.embedding)))
    shutil.rmtree(shutil.copytree(finished_run.folder, tmp_path / "bare") / "checkpoints")
    with pytest.raises(BadInput, match="bare holds no checkpoints"):
        checkpoint_arms(family, read_subject(str(tmp_path / "bare")))
    with pytest.raises(BadInput, match="take an embedding that was made for the model's family"):
        embedding_arm(family, Embedding("<x>", {"clip_l": torch.ones(1, 7)}), "x")
