"""Previews are what the real pipeline draws, and grids show every picture with its caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ti_trainer import Run, TrainConfig, load_into_pipeline, train
from ti_trainer.config.model import ModelConfig
from ti_trainer.embedding_files import read_embedding
from ti_trainer.families import Family, load_family
from ti_trainer.method.randomness import generator
from ti_trainer.method.tokens import fill
from ti_trainer.reports.previews import PLAIN_PROMPTS, PROMPTS, generate, grid, preview, quiet, save_image

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
    with quiet(pipeline), torch.no_grad():
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
    (picture,) = generate(learned, PROMPTS_HERE[:1], seed=0, steps=2, guidance=5.0, size=48)
    assert picture.size == (48, 48)
    assert pipeline.scheduler is scheduler
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(learned.encode_text(PROMPTS_HERE).context, before)
    assert all(row.grad is None for row in learned.slots[0].encoder.parameters())


COLOURS = [[(200, 0, 0), (0, 200, 0), (0, 0, 200)], [(200, 200, 0), (200, 0, 200), (0, 200, 200)]]


def coloured_rows(titles: Sequence[str]) -> list[tuple[str, list[Image.Image]]]:
    pictures = [[Image.new("RGB", (32, 32), colour) for colour in row] for row in COLOURS]
    return list(zip(titles, pictures, strict=True))


def box(canvas: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of everything of that colour."""
    rows, columns = np.nonzero((canvas == colour).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_grid_shows_every_picture_in_its_place() -> None:
    canvas = array(grid(coloured_rows(["before", "after"]), ["one", "two", "three"], cell=100))
    boxes = [[box(canvas, colour) for colour in row] for row in COLOURS]
    for row in boxes:
        assert [right - left for left, _, right, _ in row] == [100] * 3
        assert [bottom - top for _, top, _, bottom in row] == [100] * 3
        assert len({top for _, top, _, _ in row}) == 1
        assert row[0][2] < row[1][0] < row[1][2] < row[2][0]
    for upper, lower in zip(*boxes, strict=True):
        assert upper[0] == lower[0]
        assert upper[3] < lower[1]


def test_captions_and_titles_are_drawn() -> None:
    """Changing a caption changes the canvas beneath its own column and nowhere else; a title, left of its own row."""
    plain = array(grid(coloured_rows(["before", "after"]), ["cat", "dog", "<my-cat>"], cell=100))
    boxes = [[box(plain, colour) for colour in row] for row in COLOURS]
    other = array(grid(coloured_rows(["before", "after"]), ["cat", "fox", "<my-cat>"], cell=100))
    rows, columns = np.nonzero((plain != other).any(-1))
    left, _, right, bottom = boxes[1][1]
    assert len(rows) > 20
    assert rows.min() >= bottom
    assert columns.min() >= left
    assert columns.max() < right

    for left, _, right, bottom in boxes[1]:  # dark letters on white, whole
        beneath = plain[bottom:, left:right].max(-1)
        assert (beneath < 100).sum() > 20
        assert (beneath[-1] == 255).all()

    other = array(grid(coloured_rows(["before", "later"]), ["cat", "dog", "<my-cat>"], cell=100))
    rows, columns = np.nonzero((plain != other).any(-1))
    left, top, _, bottom = boxes[1][0]
    assert len(rows) > 20
    assert columns.max() < left
    assert top <= rows.min()
    assert rows.max() < bottom


def test_long_captions_are_wrapped_and_shown_whole() -> None:
    """Every word of a long caption leaves its own mark, and none runs into the next column."""
    caption = "a photo of the <my-cat> in deep snow at night under some bright stars"
    words = caption.split()
    plain = array(grid(coloured_rows(["before", "after"]), [caption, "dog", "dog"], cell=100))
    left, _, _, bottom = box(plain, COLOURS[1][0])
    for number in range(len(words)):
        changed = [*words[:number], "x" * len(words[number]), *words[number + 1 :]]
        other = array(grid(coloured_rows(["before", "after"]), [" ".join(changed), "dog", "dog"], cell=100))
        assert other.shape == plain.shape
        rows, columns = np.nonzero((plain != other).any(-1))
        assert len(rows) > 0, words[number]
        assert rows.min() >= bottom
        assert columns.min() >= left - 2  # letters may lean over
        assert columns.max() < box(plain, COLOURS[1][1])[0]


def test_before_and_after_are_the_first_and_the_exported_rows(finished_run: Run, model: Path) -> None:
    captions = [fill(prompt, TOKEN) for prompt in PROMPTS["object"]]
    first = load_file(Path(finished_run.folder) / "checkpoints" / "step-000000.safetensors")["rows.clip_l"]
    best = load_file(finished_run.embedding)["emb_params"]
    rows = []
    for title, vectors in (("before", first), ("after", best)):
        family = with_rows(load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32), vectors)
        rows.append((title, generate(family, captions, seed=0, steps=1, guidance=5.0)))
    with Image.open(Path(finished_run.folder) / "before_after.png") as saved:
        found = array(saved.convert("RGB"))
    assert np.abs(found - array(grid(rows, captions))).max() <= 1
    assert np.abs(found - array(grid(rows[::-1], captions))).max() > 10


def test_a_negative_concept_is_shown_by_what_it_keeps_out(
    make_config: Callable[..., TrainConfig], model: Path, tmp_path: Path
) -> None:
    """Plain prompts, with the token in the negative one; and `preview` puts it there by itself."""
    run = train(make_config(negative=True, steps=4, plots=True))
    embedding = read_embedding(run.embedding)
    assert embedding.is_negative
    assert "in the negative prompt" in embedding.metadata["modelspec.usage_hint"]
    first = load_file(Path(run.folder) / "checkpoints" / "step-000000.safetensors")["rows.clip_l"]
    rows = []
    for title, vectors in (("before", first), ("after", embedding.vectors["clip_l"])):
        family = with_rows(load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32), vectors)
        rows.append((title, generate(family, PLAIN_PROMPTS, seed=0, steps=1, guidance=5.0, negative=TOKEN)))
    with Image.open(Path(run.folder) / "before_after.png") as saved:
        found = array(saved.convert("RGB"))
    assert np.abs(found - array(grid(rows, PLAIN_PROMPTS))).max() <= 1
    for negative, written in ((None, "own.png"), ("a cat", "other.png"), (TOKEN, "same.png")):
        preview(
            [str(run.embedding)], ["a dog"], ModelConfig(model=str(model)), str(tmp_path / written), 1, 2, 5.0, negative
        )
    own, other, same = (array(Image.open(tmp_path / name)) for name in ("own.png", "other.png", "same.png"))
    assert (own == same).all()
    assert (own != other).any()


def test_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "previews" / "step-000001.png"
    picture = Image.new("RGB", (4, 4), "red")
    save_image(picture, path)
    with Image.open(path) as saved:
        assert np.array_equal(array(saved), array(picture))

    def fail(self: Image.Image, file: Any, **how: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_image(Image.new("RGB", (4, 4), "blue"), path)
    monkeypatch.undo()
    with Image.open(path) as saved:
        assert np.array_equal(array(saved), array(picture))
