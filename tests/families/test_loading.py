"""Models from folders, from the hub's cache and from single files: the same numbers, or a clear line."""

from __future__ import annotations

import gc
import inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.original_layout import original_layout
from tests.tiny_models import TINY_MODELS, build_pipeline
from ti_trainer import BadInput, ModelConfig
from ti_trainer.data.latent_cache import content_hash
from ti_trainer.families import FAMILIES, Family, load_family
from ti_trainer.families.latent_diffusion import LatentDiffusion
from ti_trainer.reports.previews import generate

CPU = torch.device("cpu")
CAPTIONS = ["a photo of a red cat", "a dog in the snow"]


def load(model: Path, **how: Any) -> Family:
    return load_family(ModelConfig(model=str(model), **how), CPU, torch.float32)


def prediction(family: Family) -> list[torch.Tensor]:
    """A latent, a text and a prediction: everything that a model computes."""
    draws = torch.Generator().manual_seed(0)
    pixels, noisy = torch.rand(2, 3, 32, 32, generator=draws) * 2 - 1, torch.randn(2, 4, 8, 8, generator=draws)
    sizes = torch.tensor([[40, 48, 0, 4, 32, 32], [64, 32, 16, 0, 32, 32]])
    family.put_away_vae()
    with torch.no_grad():
        text = family.encode_text(CAPTIONS)
        return [
            family.encode_images(pixels).mean,
            text.context,
            family.predict(noisy, torch.tensor([10, 900]), text, sizes),
            family.schedule.alphas_cumprod,
        ]


def assert_same_model(first: Family, second: Family) -> None:
    assert first.spec.architecture == second.spec.architecture
    assert first.schedule.prediction_type == second.schedule.prediction_type
    assert [slot.name for slot in first.slots] == [slot.name for slot in second.slots]
    for one, other in zip(prediction(first), prediction(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind of model -> a checkpoint file in the original layout."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def write(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        if not path.exists():
            save_file(original_layout(build_pipeline(kind)), path)
        return path

    return write


@pytest.mark.parametrize(
    "kind", [kind for kind, row in TINY_MODELS.items() if FAMILIES[row.pipeline].checkpoint_prefix is not None]
)
def test_single_file_is_the_folder(
    kind: str, checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """The configs come from a folder in which there are no weights."""
    configs = tmp_path / "configs"
    shutil.copytree(tiny_models[kind], configs, ignore=shutil.ignore_patterns("*.safetensors"))
    assert_same_model(load(checkpoint(kind), model_config=str(configs), offline=True), load(tiny_models[kind]))


def test_markers_of_v_prediction(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """Fine-tunes of SDXL say in empty tensors what the config of their base model does not say."""
    marked = tmp_path / "marked.safetensors"
    save_file({**load_file(checkpoint("sdxl-eps")), "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, marked)
    found = load(marked, model_config=str(tiny_models["sdxl-eps"]))
    assert_same_model(found, load(tiny_models["sdxl-eps"], prediction_type="v_prediction", zero_terminal_snr=True))
    assert_same_model(found, load(tiny_models["sdxl-v-zero-snr"]))


def test_pickled_checkpoint_only_when_asked(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    pickle = tmp_path / "model.ckpt"
    torch.save({"state_dict": load_file(checkpoint("sd1"))}, pickle)
    with pytest.raises(BadInput, match=r"model\.ckpt\" is a pickle.*allow_pickle=True"):
        load(pickle)
    found = load(pickle, model_config=str(tiny_models["sd1"]), allow_pickle=True)
    assert_same_model(found, load(tiny_models["sd1"]))


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_pickled_checkpoint_that_runs_code(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    pickle, trace = tmp_path / "model.ckpt", tmp_path / "trace"
    torch.save({"state_dict": {"cond_stage_model.x": Malicious(trace)}}, pickle)
    for configs in (None, str(tiny_models["sd1"])):
        with pytest.raises(BadInput, match=r"model\.ckpt"):
            load(pickle, allow_pickle=True, model_config=configs)
    assert not trace.exists()


def test_checkpoint_with_a_hole(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(checkpoint("sd1"))
    for start, part in (
        ("model.diffusion_model.middle", "denoiser or VAE"),
        ("first_stage_model.decoder.mid", "denoiser or VAE"),
        ("cond_stage_model.transformer.text_model.enc", "text_encoder"),
    ):
        holed = tmp_path / "holed.safetensors"
        save_file({name: tensor for name, tensor in tensors.items() if not name.startswith(start)}, holed)
        with pytest.raises(BadInput, match=f"weights of its {part} are missing"):
            load(holed, model_config=str(tiny_models["sd1"]))


def test_checkpoint_without_a_part(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(checkpoint("sd1"))
    lacking = tmp_path / "lacking.safetensors"
    for start, message in (
        ("model.diffusion_model.", "has no U-Net in it; take a whole checkpoint"),
        ("first_stage_model.", "has no VAE in it; add vae with the folder or the file of one"),
    ):
        save_file({name: tensor for name, tensor in tensors.items() if not name.startswith(start)}, lacking)
        with pytest.raises(BadInput, match=message):
            load(lacking, model_config=str(tiny_models["sd1"]))


@pytest.mark.parametrize("kind_of_vae", ["folder", "model", "file"])
def test_a_vae_for_a_checkpoint_without_one(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path, kind_of_vae: str
) -> None:
    """It encodes as the model's own does; and comes back from there when it was put away."""
    tensors = load_file(checkpoint("sd1"))
    vae = {name: tensor for name, tensor in tensors.items() if name.startswith("first_stage_model.")}
    save_file({name: tensor for name, tensor in tensors.items() if name not in vae}, tmp_path / "model.safetensors")
    save_file(vae, tmp_path / "vae.safetensors")
    place = {
        "folder": tiny_models["sd1"] / "vae",
        "model": tiny_models["sd1"],
        "file": tmp_path / "vae.safetensors",
    }[kind_of_vae]
    found = load(tmp_path / "model.safetensors", model_config=str(tiny_models["sd1"]), vae=str(place), offline=True)
    whole = load(tiny_models["sd1"])
    assert_same_model(found, whole)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(2):
        own, other = (each.encode_images(pixels) for each in (found, whole))
        torch.testing.assert_close(own.mean, other.mean)
        found.put_away_vae()


def test_another_vae_than_that_of_a_folder(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """The folder's own need not even be there."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sd1"], folder)
    shutil.move(folder / "vae", tmp_path / "vae")
    assert load(folder, vae=str(tmp_path / "vae")).vae_hash == load(tiny_models["sd1"]).vae_hash


def test_a_vae_that_is_a_pickle(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    torch.save({}, tmp_path / "vae.pt")
    with pytest.raises(BadInput, match=r"vae=.*vae\.pt\" is a pickle"):
        load(tiny_models["sd1"], vae=str(tmp_path / "vae.pt"))


@pytest.mark.parametrize("pickled", [False, True])
def test_names_of_the_first_checkpoints(
    checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path, pickled: bool
) -> None:
    """Before `text_model` came into the names of CLIP's tensors; the numbers that came with them are left out."""
    tensors = load_file(checkpoint("sd1"))
    old = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in tensors.items()}
    assert old.keys() != tensors.keys()
    file = tmp_path / ("old.ckpt" if pickled else "old.safetensors")
    if pickled:
        torch.save({"state_dict": old, "global_step": 470000}, file)
    else:
        save_file(old, file)
    found = load(file, model_config=str(tiny_models["sd1"]), allow_pickle=pickled)
    assert_same_model(found, load(tiny_models["sd1"]))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lora_unet_down.lora_up.weight": 1}, "holds no whole Stable Diffusion model"),
        ({"conditioner.embedders.0.model.text_projection": 1}, "the SDXL refiner"),
    ],
)
def test_files_that_are_no_model_to_train_on(tmp_path: Path, tensors: dict[str, int], message: str) -> None:
    file = tmp_path / "x.safetensors"
    save_file({name: torch.zeros(size) for name, size in tensors.items()}, file)
    with pytest.raises(BadInput, match=message):
        load(file)


def test_file_that_is_not_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"<html>404</html>" * 10)
    with pytest.raises(BadInput, match=r"x\.safetensors\" is not a safetensors file"):
        load(file)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2", "tokenizer_2", "scheduler"])
def test_folder_without_a_part(tiny_models: dict[str, Path], tmp_path: Path, part: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sdxl-eps"], folder)
    shutil.rmtree(folder / part)
    with pytest.raises(BadInput, match=f"not complete: its {part} is missing"):
        load(folder)


@pytest.mark.parametrize(("pattern", "what"), [("*.safetensors", "has no weights"), ("config.json", "has no config")])
def test_folder_with_half_a_part(tiny_models: dict[str, Path], tmp_path: Path, pattern: str, what: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sd1"], folder)
    for file in (folder / "vae").glob(pattern):
        file.unlink()
    with pytest.raises(BadInput, match=f"not complete: its vae {what}"):
        load(folder)


def test_models_for_something_else(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sdxl-eps"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    for name, message in [
        ("StableDiffusionXLImg2ImgPipeline", "the SDXL refiner"),
        ("StableDiffusionXLInpaintPipeline", "made for inpainting"),
        ("WuerstchenPipeline", "a WuerstchenPipeline, for which there is no family"),
        ("FluxPipeline", "cannot be loaded: Pipeline .*FluxPipeline.* expected"),
    ]:
        (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
        with pytest.raises(BadInput, match=message):
            load(folder)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"in_channels": 9}, "wants 9 channels.*inpainting"),
        ("vae/config.json", {"latents_mean": [0, 0, 0, 0]}, "another noise process"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "predicts 'sample'"),
    ],
)
def test_models_of_another_process(
    tiny_models: dict[str, Path], tmp_path: Path, file: str, changes: dict[str, object], message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sd1"], folder)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    if "in_channels" in changes:
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(weights)
        tensors["conv_in.weight"] = tensors["conv_in.weight"].repeat(1, 3, 1, 1)[:, :9].contiguous()
        save_file(tensors, weights)
    with pytest.raises(BadInput, match=message):
        load(folder)


def test_variant_of_the_weights(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    build_pipeline("sd1").save_pretrained(folder, variant="fp16")
    assert_same_model(load(folder, variant="fp16"), load(tiny_models["sd1"]))


def test_hub_model_from_the_cache(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """What an earlier download left, in the hub's own layout; nothing is asked for over the network."""
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_models["sdxl-eps"], snapshot)
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "refs" / "main").write_text(snapshot.name)
    found = load(Path("someone/tiny"), cache_dir=str(tmp_path), offline=True)
    assert_same_model(found, load(tiny_models["sdxl-eps"]))
    with pytest.raises(BadInput, match='someone/other" is no folder here, and the hub did not give it'):
        load(Path("someone/other"), cache_dir=str(tmp_path), offline=True)
    with pytest.raises(BadInput, match="the hub did not give it"):
        load(Path("someone/tiny"), cache_dir=str(tmp_path), offline=True, revision="v2")


def written_model(
    source: str, checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> dict[str, Any]:
    """Settings of a model from one of SOURCES, in half precision where its name says so."""
    kind, _, form = source.partition(" ")
    if form == "file":
        return {"model": checkpoint(kind), "model_config": str(tiny_models[kind]), "offline": True}
    if form == "fp16 variant":
        build_pipeline(kind).to(dtype=torch.float16).save_pretrained(tmp_path / "model", variant="fp16")
        return {"model": tmp_path / "model", "variant": "fp16"}
    if form == "pickle":
        torch.save({"state_dict": load_file(checkpoint(kind))}, tmp_path / "model.ckpt")
        return {"model": tmp_path / "model.ckpt", "model_config": str(tiny_models[kind]), "allow_pickle": True}
    return {"model": tiny_models[kind]}


SOURCES = ["sd1 folder", "sd1 fp16 variant", "sd1 file", "sd1 pickle", "sdxl-eps folder", "sdxl-eps fp16 variant"]
SOURCES += ["sdxl-eps file", "sd2-v folder", "sd2-v file"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_vae_that_was_put_away_comes_back(
    source: str, checkpoint: Callable[[str], Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """To the bit, from wherever it came, in float32; and the pipeline draws with it as if it had always been there."""
    family = load(**written_model(source, checkpoint, tiny_models, tmp_path))
    assert isinstance(family, LatentDiffusion)
    first = family.bring_vae()
    weights = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = family.encode_images(pixels)
    pictures = generate(family, ["a cat", "a dog"], seed=0, steps=1, guidance=2.0)
    assert family.bring_vae() is first

    family.put_away_vae()
    assert family._pipeline.vae is None
    again = family.encode_images(pixels)
    assert family.bring_vae() is not first
    assert torch.equal(again.mean, posterior.mean)
    assert torch.equal(again.std, posterior.std)
    assert {name: tensor.dtype for name, tensor in family.bring_vae().state_dict().items()} == dict.fromkeys(
        weights, torch.float32
    )
    assert all(torch.equal(tensor, weights[name]) for name, tensor in family.bring_vae().state_dict().items())
    assert content_hash(family.bring_vae().state_dict()) == family.vae_hash == content_hash(weights)
    assert not family.bring_vae().training
    assert not any(parameter.requires_grad for parameter in family.bring_vae().parameters())

    family.put_away_vae()
    redrawn = generate(family, ["a cat", "a dog"], seed=0, steps=1, guidance=2.0)
    assert [image.tobytes() for image in redrawn] == [image.tobytes() for image in pictures]
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_only_the_vae_is_loaded_again(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """The folder may have lost everything else; and the hash of one that was put away is that of its file."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["sdxl-eps"], folder)
    family = load(folder)
    family.put_away_vae()
    for part in ("unet", "text_encoder", "text_encoder_2"):
        for file in (folder / part).glob("*.safetensors"):
            file.write_bytes(b"")
    kept = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert family.vae_hash == content_hash(kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_are_loaded_in_their_precision(tiny_models: dict[str, Path], dtype: torch.dtype) -> None:
    """The VAE stays float32 for encoding: SDXL's overflows in float16. And so it is after drawing."""
    for kind in ("sd1", "sdxl-eps"):
        family = load_family(ModelConfig(model=str(tiny_models[kind])), CPU, dtype)
        assert family.pipeline().unet.dtype == dtype
        assert family.pipeline().vae.dtype == dtype
        assert {slot.encoder.dtype for slot in family.slots} == {dtype}
        exact = load(tiny_models[kind])
        pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        assert torch.equal(family.encode_images(pixels).mean, exact.encode_images(pixels).mean)
        assert family.vae_hash == exact.vae_hash


@pytest.mark.parametrize(("on", "frozen"), [(True, False), (False, False), (True, True)])
def test_the_garbage_collector_is_as_it_was(model: Path, on: bool, frozen: bool) -> None:
    """Also after a model that cannot be loaded. What somebody has frozen stays so. Meanwhile it looks for nothing."""
    assert gc.isenabled()
    searches: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and any(frame.function == "from_pretrained" for frame in inspect.stack(0)):
            searches.append(info["generation"])

    gc.callbacks.append(note)
    try:
        if not on:
            gc.disable()
        if frozen:
            gc.freeze()
        count = gc.get_freeze_count()
        load(model)
        with pytest.raises(BadInput):
            load(model, variant="none")
        # some of what was frozen goes because nobody holds it any more
        assert (gc.isenabled(), count * 0.9 <= gc.get_freeze_count() <= count) == (on, True)
        assert bool(searches) is frozen
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
        gc.enable()
