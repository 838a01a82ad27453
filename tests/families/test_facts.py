"""What is known of a model without its weights is what is known when they are loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import TINY_MODELS
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import load_family
from ti_trainer.families.facts import read_model_facts

CPU = torch.device("cpu")


@pytest.fixture
def bare(any_model: Path, tmp_path: Path) -> Path:
    """The tiny model of each kind without its weights."""
    ignored = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(any_model, tmp_path / any_model.name, ignore=ignored))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_facts_are_those_of_the_loaded_model(any_model: Path, bare: Path, clip_skip: int) -> None:
    if clip_skip not in TINY_MODELS[any_model.name].clip_skips:
        pytest.skip("it reads no layers of CLIP")
    facts = read_model_facts(ModelConfig(model=str(bare), clip_skip=clip_skip))
    family = load_family(ModelConfig(model=str(any_model), clip_skip=clip_skip), CPU, torch.float32)
    assert facts.spec == family.spec
    assert facts.window == family.slots[0].window == TINY_MODELS[any_model.name].window
    assert [(slot.kind, slot.suffix, slot.width) for slot in facts.spec.slots] == [
        (slot.kind, slot.suffix, slot.width) for slot in family.slots
    ]
    vocabulary = family.slots[0].tokenizer.get_vocab()
    vocabulary.pop("<|row|>")
    assert facts.tokenizer.get_vocab() == vocabulary
    # in numbers: 8 x 8 latents of a VAE that halves twice; one halving of the U-Net, or patches of 2
    spec = facts.spec
    assert (spec.resolution, spec.pixels_per_latent, spec.bucket_step) == (TINY_MODELS[any_model.name].resolution, 4, 8)
    assert spec.latent_channels == family.encode_images(torch.zeros(1, 3, 32, 32)).mean.shape[1]
    assert tuple(slot.kind.name for slot in spec.slots) == TINY_MODELS[any_model.name].slots


def test_facts_of_a_user_s_prediction_type(tiny_models: dict[str, Path]) -> None:
    """Of SD 2.x it tells the architecture."""
    config = ModelConfig(model=str(tiny_models["sd2-eps"]), prediction_type="v_prediction")
    assert read_model_facts(config).spec.architecture == "stable-diffusion-v2-768-v"
    assert read_model_facts(ModelConfig(model=config.model)).spec.architecture == "stable-diffusion-v2-512"


def test_facts_from_the_hubs_cache(any_model: Path, bare: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(bare, snapshot)
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "refs" / "main").write_text(snapshot.name)
    found = read_model_facts(ModelConfig(model="someone/tiny", cache_dir=str(tmp_path), offline=True))
    assert found.spec == read_model_facts(ModelConfig(model=str(any_model))).spec
    (snapshot / "vae" / "config.json").unlink()
    with pytest.raises(BadInput, match=r"has no vae/config\.json that can be read"):
        read_model_facts(ModelConfig(model="someone/tiny", cache_dir=str(tmp_path), offline=True))


def test_facts_of_a_checkpoint_file_are_its_configs(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"")
    with pytest.raises(BadInput, match="has no tokenizer in it; add model_config"):
        read_model_facts(ModelConfig(model=str(file)))
    found = read_model_facts(ModelConfig(model=str(file), model_config=str(model)))
    assert found.spec == read_model_facts(ModelConfig(model=str(model))).spec
    with pytest.raises(BadInput, match=r"model_config=\".*\" does not exist"):
        read_model_facts(ModelConfig(model=str(file), model_config=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("model_index.json", r"is no diffusers folder: model_index\.json is missing"),
        ("vae/config.json", r"has no vae/config\.json that can be read"),
        ("scheduler/scheduler_config.json", r"has no scheduler/scheduler_config\.json that can be read"),
    ],
)
def test_files_that_are_missing(bare: Path, file: str, message: str) -> None:
    next(bare.glob(file.replace("model_index", "*model_index"))).unlink()
    with pytest.raises(BadInput, match=message):
        read_model_facts(ModelConfig(model=str(bare)))


def test_a_config_that_is_no_json(bare: Path) -> None:
    (bare / "vae" / "config.json").write_text("{")
    with pytest.raises(BadInput, match=r"has no vae/config\.json that can be read"):
        read_model_facts(ModelConfig(model=str(bare)))


def test_a_tokenizer_without_words(bare: Path) -> None:
    """transformers makes an empty vocabulary of a folder without files."""
    shutil.rmtree(bare / "tokenizer")
    with pytest.raises(BadInput, match="has no tokenizer that can be loaded"):
        read_model_facts(ModelConfig(model=str(bare)))
    (bare / "tokenizer").mkdir()
    with pytest.raises(BadInput, match="has no tokenizer that can be loaded"):
        read_model_facts(ModelConfig(model=str(bare)))


def test_models_that_training_refuses_are_refused_here(bare: Path) -> None:
    """Without their weights: other pipelines, and settings that the family does not know."""
    config = ModelConfig(model=str(bare), clip_skip=3)
    skips = 1 in TINY_MODELS[bare.name].clip_skips
    with pytest.raises(
        BadInput, match=f"clip_skip is 3{' and clip_[lh] has 3 layers' if skips else ', and .* no layers'}"
    ):
        read_model_facts(config)
    edit(next(bare.glob("*model_index.json")), _class_name="WuerstchenPipeline")
    with pytest.raises(BadInput, match="a WuerstchenPipeline, for which there is no family"):
        read_model_facts(ModelConfig(model=str(bare)))


def test_an_inpainting_model_without_its_weights(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")))
    edit(folder / "unet" / "config.json", in_channels=9)
    with pytest.raises(BadInput, match=r"wants 9 channels.*inpainting"):
        read_model_facts(ModelConfig(model=str(folder)))
