"""Previews are what the real pipeline draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ti_trainer import BadInput, Concept, Run, TrainConfig, load_into_pipeline, train
from ti_trainer.config.model import ModelConfig
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import Family, load_family
from ti_trainer.method.randomness import generator
from ti_trainer.method.tokens import fill
from ti_trainer.reports.grids import grid
from ti_trainer.reports.previews import COLUMNS, drawing_of_run, generate, preview, with_tokens
from ti_trainer.reports.prompts import PLAIN_PROMPTS, PROMPTS
from ti_trainer.reports.references import find_references, show_references

TOKEN = "<my-cat>"
PROMPTS_HERE = ["a photo of a <my-cat> on the beach", "a red <my-cat>", "a photo of a dog"]


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def with_rows(family: Family, rows: torch.Tensor) -> Family:
    family.placeholders.add(TOKEN, {"clip_l": rows})
    return family


@pytest.fixture
def learned(family: Family, finished_run: Run) -> Family:
    return with_rows(family, load_file(finished_run.embedding)["emb_params"])


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_pictures_are_the_pipelines(
    learned: Family,
    model: Path,
    reference_pipeline: Callable[[Path], Any],
    finished_run: Run,
    guidance: float,
) -> None:
    """The reference gets the embedding file and prompt strings, as a user would give them, and the same first noise."""
    pipeline = reference_pipeline(model)
    load_into_pipeline(pipeline, finished_run.embedding)
    latents = torch.stack([torch.randn(4, 8, 8, generator=generator(3, "preview", number)) for number in range(3)])
    wanted = pipeline(PROMPTS_HERE, latents=latents, num_inference_steps=4, guidance_scale=guidance).images
    found = generate(learned, PROMPTS_HERE, seed=3, steps=4, guidance=guidance)
    for one, other in zip(found, wanted, strict=True):
        assert one.size == (32, 32)
        assert np.abs(array(one) - array(other)).max() <= 1
    assert np.abs(array(found[0]) - array(found[1])).max() > 3


def test_a_token_in_the_negative_prompt(
    learned: Family, model: Path, reference_pipeline: Callable[[Path], Any], finished_run: Run
) -> None:
    pipeline = reference_pipeline(model)
    load_into_pipeline(pipeline, finished_run.embedding)
    latents = torch.randn(1, 4, 8, 8, generator=generator(3, "preview", 0))
    wanted = pipeline("a dog", negative_prompt=TOKEN, latents=latents, num_inference_steps=4, guidance_scale=5.0)
    (found,) = generate(learned, ["a dog"], seed=3, steps=4, guidance=5.0, negative=TOKEN)
    assert np.abs(array(found) - array(wanted.images[0])).max() <= 1
    (plain,) = generate(learned, ["a dog"], seed=3, steps=4, guidance=5.0)
    assert np.abs(array(found) - array(plain)).max() > 3


def test_a_picture_depends_on_its_seed_and_place_alone(learned: Family) -> None:
    prompts = [PROMPTS_HERE[number % 3] for number in range(17)]  # more than are drawn at once
    many = generate(learned, prompts, seed=0, steps=2, guidance=5.0)
    few = generate(learned, prompts[:2], seed=0, steps=2, guidance=5.0)
    for one, other in zip(few, many, strict=False):
        assert np.abs(array(one) - array(other)).max() <= 1
    latents = torch.randn(1, 4, 8, 8, generator=generator(0, "preview", 16))
    pipeline = learned.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        last = pipeline(
            prompt_embeds=learned.encode_text([prompts[16]]).context,
            negative_prompt_embeds=learned.encode_text([""]).context,
            latents=latents,
            num_inference_steps=2,
            guidance_scale=5.0,
        ).images[0]
    assert np.abs(array(last) - array(many[16])).max() <= 1
    other = generate(learned, prompts[:1], seed=1, steps=2, guidance=5.0)
    assert np.abs(array(other[0]) - array(many[0])).max() > 10


def test_prompts_are_read_with_the_rows_of_a_key(
    learned: Family, model: Path, reference_pipeline: Callable[[Path], Any], finished_run: Run
) -> None:
    """Another concept's token, and a token of the same name, are what they are to a pipeline that knows neither."""
    rows = load_file(finished_run.embedding)["emb_params"]
    learned.placeholders.add(TOKEN, {"clip_l": -rows}, "same name")
    learned.placeholders.add("dog", {"clip_l": rows[:1]}, "a tuned word")
    prompts = [f"a {TOKEN} beside a dog", *PROMPTS_HERE[:2]]
    pipeline = reference_pipeline(model)
    load_into_pipeline(pipeline, finished_run.embedding)
    latents = torch.stack([torch.randn(4, 8, 8, generator=generator(3, "preview", number)) for number in range(3)])
    wanted = pipeline(prompts, latents=latents, num_inference_steps=3, guidance_scale=5.0).images
    found = generate(learned, prompts, seed=3, steps=3, guidance=5.0, owner=TOKEN)
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(array(one) - array(other)).max() <= 1
    everybody = generate(learned, prompts, seed=3, steps=3, guidance=5.0)
    assert np.abs(array(everybody[0]) - array(found[0])).max() > 3
    others = generate(learned, prompts, seed=3, steps=3, guidance=5.0, owner="same name")
    assert np.abs(array(others[1]) - array(found[1])).max() > 3


def test_drawing_leaves_no_trace(learned: Family) -> None:
    pipeline = learned.pipeline()
    scheduler, before = pipeline.scheduler, learned.encode_text(PROMPTS_HERE).context
    torch.manual_seed(4)
    state = torch.get_rng_state()
    (picture,) = generate(learned, PROMPTS_HERE[:1], seed=0, steps=2, guidance=5.0, size=(48, 64))
    assert picture.size == (48, 64)
    assert pipeline.scheduler is scheduler
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(learned.encode_text(PROMPTS_HERE).context, before)
    assert all(row.grad is None for row in learned.slots[0].encoder.parameters())


def sheet_of(
    run: Run, model: Path, pictures: Path, prompts: Sequence[str], negative: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """before_after.png, and what it should be: the concept's pictures over what the first and the saved rows draw."""
    first = load_file(Path(run.folder) / "checkpoints" / "step-000000.safetensors")["rows.clip_l"]
    best = load_file(run.embedding)["emb_params"]
    references = show_references(find_references(Concept(TOKEN, str(pictures))), "white", 384, len(prompts))
    rows: list[Any] = [("your\npictures", references)]
    for title, vectors in (("before\nstep 0", first), (f"after\nstep {run.best_step}", best)):
        family = with_rows(load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32), vectors)
        rows.append((title, generate(family, prompts, seed=0, steps=1, guidance=5.0, negative=negative)))
    with Image.open(Path(run.folder) / "before_after.png") as saved:
        return array(saved.convert("RGB")), array(grid(rows, prompts, header=f"{TOKEN} on {model.name}"))


def test_before_and_after_are_the_first_and_the_exported_rows(finished_run: Run, model: Path, pictures: Path) -> None:
    found, wanted = sheet_of(finished_run, model, pictures, [fill(each, TOKEN) for each in PROMPTS["object"][:COLUMNS]])
    assert np.abs(found - wanted).max() <= 1
    assert finished_run.best_step > 0
    half = found.shape[0] // 3
    assert np.abs(found[half : 2 * half] - found[-half:]).max() > 10


def test_a_negative_concept_is_shown_by_what_it_keeps_out(
    make_config: Callable[..., TrainConfig], model: Path, pictures: Path, tmp_path: Path
) -> None:
    """Plain prompts, with the token in the negative one; and `preview` puts it there by itself."""
    run = train(make_config(negative=True, steps=4, plots=True))
    embedding = read_embedding(run.embedding)
    assert embedding.is_negative
    assert "in the negative prompt" in embedding.metadata["modelspec.usage_hint"]
    found, wanted = sheet_of(run, model, pictures, PLAIN_PROMPTS[:COLUMNS], TOKEN)
    assert np.abs(found - wanted).max() <= 1
    for negative, written in ((None, "own.png"), ("a cat", "other.png"), (TOKEN, "same.png")):
        how = {"output": str(tmp_path / written), "preview_steps": 2, "negative_prompt": negative}
        preview([str(run.embedding)], ["a dog"], ModelConfig(model=str(model)), **how)
    own, other, same = (array(Image.open(tmp_path / name)) for name in ("own.png", "other.png", "same.png"))
    assert (own == same).all()
    assert (own != other).any()
    with pytest.raises(BadInput, match=r"no token to put in the place of \{token\}"):
        preview([str(run.embedding)], ["a {token}"], ModelConfig(model=str(model)))


def test_preview_fills_in_all_tokens(model: Path, finished_run: Run, tmp_path: Path) -> None:
    other = tmp_path / "look.safetensors"
    rows = load_file(finished_run.embedding)["emb_params"]
    write_embedding(Embedding("<look>", {"clip_l": -rows}), other, "webui")
    (tmp_path / "prompts.txt").write_text("a {token} at sea\n")
    for name, prompt in (("a.png", str(tmp_path / "prompts.txt")), ("b.png", f"a {TOKEN} <look> at sea")):
        how = {"output": str(tmp_path / name), "preview_steps": 1, "preview_width": 48}
        preview([str(finished_run.embedding), str(other)], [prompt], ModelConfig(model=str(model)), **how)
    one, two = (array(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert (one == two).all()


def test_tokens_as_webuis_write_them() -> None:
    names = {"my-cat": "<my-cat>", "my-cat-000100": "<my-cat>", "look": "look"}
    for prompt, wanted in {
        "a my-cat": "a <my-cat>",
        "(my-cat:1.2), embedding:my-cat-000100, my-cat.": "(<my-cat>:1.2), <my-cat>, <my-cat>.",
        "a <my-cat>, embedding:look": "a <my-cat>, look",
        "my-cats, not-my-cat, embedding:my-dog, look_2": "my-cats, not-my-cat, embedding:my-dog, look_2",
    }.items():
        assert with_tokens(prompt, names) == wanted


def test_a_prompt_without_a_token_is_told(
    model: Path, finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is drawn all the same; as WebUIs write the token, there is one, and the picture is that of the token."""
    for name, prompt in (("a.png", f"a {TOKEN}"), ("b.png", "a embedding:my-cat"), ("c.png", "a dog")):
        how = {"output": str(tmp_path / name), "preview_steps": 1}
        preview([str(finished_run.embedding)], [prompt], ModelConfig(model=str(model)), **how)
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"note: 'a dog' has no token; write {TOKEN}"
    one, two, three = (array(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert one.shape == two.shape
    edge = one.shape[0] - 32  # above are the prompts
    assert (one[edge:, -32:] == two[edge:, -32:]).all()
    assert (one[edge:, -32:] != three[edge:, -32:]).any()


def test_what_a_run_draws(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    plain = drawing_of_run(make_config(), 32, 4)
    assert plain.prompts == tuple(fill(each, TOKEN) for each in PROMPTS["object"][:COLUMNS])
    assert (plain.negative, plain.seeds, plain.size, plain.columns) == ("", (0,), (32, 32), list(plain.prompts))
    style = drawing_of_run(make_config(templates="style"), 32, 4)
    assert style.prompts[0] == f"a house in the style of {TOKEN}"
    own = {"prompts": ["a {token}", f"my {TOKEN}"], "negative_prompt": "a {token} drawing", "seed": 5}
    drawing = drawing_of_run(make_config(**own, preview_seeds=2, preview_width=48, preview_steps=3), 32, 4)
    assert drawing.prompts == (f"a {TOKEN}", f"my {TOKEN}")
    assert drawing.negative == f"a {TOKEN} drawing"
    assert (drawing.seeds, drawing.size, drawing.work) == ((5, 6), (48, 32), 12)
    assert drawing.columns == [f"{prompt} (seed {seed})" for seed in (5, 6) for prompt in drawing.prompts]
    assert (drawing.told(3)["prompt"], drawing.told(3)["seed"]) == (f"my {TOKEN}", "6")
    for given, negative in (("", TOKEN), ("blurry", f"blurry, {TOKEN}"), ("no {token}", f"no {TOKEN}")):
        assert drawing_of_run(make_config(negative=True, negative_prompt=given), 32, 4).negative == negative
    with pytest.raises(BadInput, match="preview_height is 50; choose a multiple of 4, such as 48"):
        drawing_of_run(make_config(preview_height=50), 32, 4)
    with pytest.raises(BadInput, match="which is not there"):
        drawing_of_run(make_config(prompts=[str(tmp_path / "gone.txt")]), 32, 4)


def test_pictures_of_several_seeds_and_the_work_that_is_told(learned: Family, make_config: Any) -> None:
    config = make_config(prompts=PROMPTS_HERE[:2], preview_seeds=2, preview_steps=3, seed=1, negative_prompt="a dog")
    drawing = drawing_of_run(config, 32, 4)
    told: list[int] = []
    found = drawing.pictures(learned, None, told.append)
    how = {"steps": 3, "guidance": 5.0, "negative": "a dog"}
    wanted = [image for seed in (1, 2) for image in generate(learned, PROMPTS_HERE[:2], seed=seed, **how)]
    assert all((array(one) == array(other)).all() for one, other in zip(found, wanted, strict=True))
    assert sum(told) == drawing.work
    assert len(told) == 6
