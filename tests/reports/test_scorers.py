"""Features against simple recomputations with transformers, one picture and one text at a time."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ti_trainer import BadInput
from ti_trainer.config.bundled import TINY_CLIP
from ti_trainer.reports.scorers import ClipScorer, ImageScorer, Source

TEXTS = ["a photo of a cat", "a red Dog on the beach in the snow", "cat"]
MEAN = {"clip": (0.48145466, 0.4578275, 0.40821073), "siglip": (0.5, 0.5, 0.5)}
DEVIATION = {"clip": (0.26862954, 0.26130258, 0.27577711), "siglip": (0.5, 0.5, 0.5)}


def pixels(image: Image.Image, like: str) -> torch.Tensor:
    """A picture of the right size as a model takes it, (1, 3, h, w)."""
    array = (np.asarray(image) / 255 - MEAN[like]) / DEVIATION[like]
    return torch.tensor(array.tolist(), dtype=torch.float32).permute(2, 0, 1)[None]


@torch.no_grad()
def clip_cosines(folder: Path, images: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """Pictures x texts from CLIPModel's own logits."""
    from transformers import AutoTokenizer, CLIPModel

    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text, return_tensors="pt").input_ids for text in texts]
    rows = [[model(input_ids=each, pixel_values=pixels(image, "clip")) for each in ids] for image in images]
    return torch.tensor([[out.logits_per_image.item() for out in row] for row in rows]) / model.logit_scale.exp()


@torch.no_grad()
def siglip_cosines(folder: Path, images: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """Pictures x texts from SiglipModel's own logits; the texts in small letters, and padded by hand."""
    from transformers import SiglipModel

    model = SiglipModel.from_pretrained(folder).eval()
    letters = "abcdefghijklmnopqrstuvwxyz"
    ids = [[5 if letter == " " else 6 + letters.index(letter) for letter in text.lower()][:24] for text in texts]
    padded = [torch.tensor([[*own, *[0] * (24 - len(own))]]) for own in ids]
    rows = [[model(input_ids=each, pixel_values=pixels(image, "siglip")) for each in padded] for image in images]
    logits = torch.tensor([[out.logits_per_image.item() for out in row] for row in rows])
    return (logits - model.logit_bias) / model.logit_scale.exp()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_cosines_are_the_models_own_logits_without_scale_and_bias(
    kind: str, request: pytest.FixtureRequest, images: list[Image.Image]
) -> None:
    folder = request.getfixturevalue(f"{kind}_folder")
    scorer = ClipScorer(str(folder))
    features = scorer.image_features(images), scorer.text_features(TEXTS)
    wanted = {"clip": clip_cosines, "siglip": siglip_cosines}[kind](folder, images, TEXTS)
    torch.testing.assert_close(features[0] @ features[1].T, wanted, rtol=1e-4, atol=1e-5)
    assert wanted.std(0).min() > 1e-4
    assert wanted.std(1).min() > 1e-4
    for own in features:
        torch.testing.assert_close(own.norm(dim=1), torch.ones(len(own)))
    assert scorer.kind == kind


def test_dino_is_judged_by_its_class_token(dino_folder: Path, images: list[Image.Image]) -> None:
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(dino_folder).eval()
    for image, found in zip(images, ImageScorer(str(dino_folder)).image_features(images), strict=True):
        larger = image.resize((32, 32), Image.Resampling.BICUBIC).crop((2, 2, 30, 30))
        with torch.no_grad():
            token = model(pixels(larger, "clip")).last_hidden_state[0, 0]
        torch.testing.assert_close(found, F.normalize(token, dim=0), rtol=1e-4, atol=1e-5)


def test_a_pooler_without_weights_is_not_used(tmp_path: Path, images: list[Image.Image]) -> None:
    """ViTs are published without one, and transformers then fills it with random numbers, others each time."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    tower: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    model = ViTModel(ViTConfig(**tower, num_attention_heads=2, image_size=32, patch_size=16), add_pooling_layer=False)
    model.eval().save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with torch.no_grad():
        token = model(pixels(images[0], "siglip")).last_hidden_state[:, 0]
    found = ImageScorer(str(tmp_path)).image_features(images[:1])
    torch.testing.assert_close(found, F.normalize(token, dim=1), rtol=1e-4, atol=1e-5)


def test_a_network_without_tokens_is_judged_by_its_pooled_output(
    judge_folder: Path, tmp_path: Path, images: list[Image.Image]
) -> None:
    """A RegNet gives (B, C, 1, 1); of a classifier the head is left out."""
    from transformers import ConvNextImageProcessorPil, RegNetForImageClassification

    folder = shutil.copytree(judge_folder, tmp_path / "regnet")
    ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)
    model = RegNetForImageClassification.from_pretrained(folder).eval()
    scorer = ImageScorer(str(folder))
    with torch.no_grad():
        seen = model.regnet(scorer.processor(images, return_tensors="pt").pixel_values).last_hidden_state.mean((2, 3))
    torch.testing.assert_close(scorer.image_features(images), F.normalize(seen, dim=1), rtol=1e-4, atol=1e-5)


def test_many_pictures_are_the_same_as_few(clip_folder: Path, images: list[Image.Image]) -> None:
    scorer = ClipScorer(str(clip_folder))
    many = (images * 6)[:40]  # more than go through the model at once
    few = torch.cat([scorer.image_features([image]) for image in images])
    torch.testing.assert_close(scorer.image_features(many), few[[i % len(images) for i in range(40)]])


def test_revisions(clip_folder: Path, tmp_path: Path) -> None:
    """A commit is that of the hub's cache; a folder is told by its weights, and not by its name."""
    from transformers import CLIPModel

    commits = {"main": "a" * 40, "v1": "b" * 40}
    repository = tmp_path / "models--somebody--clip"
    for name, commit in commits.items():
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / name).write_text(commit)
        shutil.copytree(clip_folder, repository / "snapshots" / commit)
    for name, commit in (("somebody/clip", commits["main"]), ("somebody/clip@v1", commits["v1"])):
        source = Source(name, cache_dir=str(tmp_path), offline=True)
        assert source.revision(ClipScorer(source).model) == commit
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    model = CLIPModel.from_pretrained(clip_folder)
    shown = Source(str(copy)).revision(model)
    assert re.fullmatch("weights [0-9a-f]{12}", shown)
    assert Source(str(clip_folder)).revision(model) == shown
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1
    assert Source(str(copy)).revision(model) != shown


def test_the_bundled_clip_is_found_by_its_name(images: list[Image.Image]) -> None:
    assert ClipScorer(TINY_CLIP).image_features(images).shape == (len(images), 128)


def test_what_cannot_be_loaded(tmp_path: Path, dino_folder: Path, clip_folder: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(f'clip="{tmp_path}" cannot be loaded: Unrecognized model')):
        ClipScorer(str(tmp_path))
    with pytest.raises(BadInput, match=re.escape(f'judge="{tmp_path}" cannot be loaded: Unrecognized model')):
        ImageScorer(str(tmp_path))
    with pytest.raises(BadInput, match="is a dinov2, which reads no texts; choose a CLIP, SigLIP or SigLIP2"):
        ClipScorer(str(dino_folder))
    with pytest.raises(BadInput, match='judge="nobody/clip" cannot be loaded: '):
        ImageScorer(Source("nobody/clip", cache_dir=str(tmp_path), offline=True))
    damaged = shutil.copytree(dino_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(BadInput, match='damaged" cannot be loaded: '):
        ImageScorer(str(damaged))


def test_a_model_that_lacks_weights_is_no_judge(tmp_path: Path, dino_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(dino_folder, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match='half" is no whole Dinov2Model: it has no layernorm'):
        ImageScorer(str(folder))
