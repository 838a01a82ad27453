"""Scores against a simple recomputation with transformers on tiny random models, and against closed forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.tiny_judge import labels_seen
from ti_trainer import BadInput, ModelConfig, Run
from ti_trainer.cli import main
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import load_with_embeddings
from ti_trainer.reports.evaluation import (
    ClipScorer,
    class_word,
    draw_in_scenes,
    evaluate,
)
from ti_trainer.reports.judge import AttributeJudge, attribute_accuracy
from ti_trainer.reports.previews import generate, preview

TOKEN = "<my-cat>"


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A tiny random CLIPModel folder."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(1)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={**tower, **ids, "vocab_size": len(tokenizer)},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


def cosines(clip_folder: Path, images: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """Pictures x texts, one pair at a time, from CLIPModel's own logits."""
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    table = torch.zeros(len(images), len(texts))
    for row, image in enumerate(images):
        for column, text in enumerate(texts):
            with torch.no_grad():
                output = model(
                    input_ids=tokenizer(text, return_tensors="pt").input_ids,
                    pixel_values=processor(image, return_tensors="pt").pixel_values,
                )
            table[row, column] = output.logits_per_image[0, 0] / model.logit_scale.exp()
    return table


def test_clip_features_give_clips_own_cosines(clip_folder: Path, images: list[Image.Image]) -> None:
    scorer = ClipScorer(str(clip_folder))
    texts = ["a photo of a cat", "a red dog on the beach in the snow", "cat"]
    found = scorer.image_features(images) @ scorer.text_features(texts).T
    torch.testing.assert_close(found, cosines(clip_folder, images, texts), rtol=1e-4, atol=1e-5)
    for features in (scorer.image_features(images), scorer.text_features(texts)):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    assert found.std() > 1e-3


def test_a_clip_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(f'clip="{tmp_path}" cannot be loaded')):
        ClipScorer(str(tmp_path))


def test_class_word() -> None:
    assert [class_word(token) for token in ("<my-cat>", "<fluffy-red-dog>", "cat2", "<cat-tuned>", "<7>")] == [
        "cat",
        "dog",
        "cat",
        "tuned",
        "<7>",
    ]


def test_evaluation_is_the_mean_of_single_comparisons(
    model: Path, clip_folder: Path, judge_folder: Path, finished_run: Run, images: list[Image.Image]
) -> None:
    family = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(finished_run.embedding)])
    scorer, judge = ClipScorer(str(clip_folder)), AttributeJudge(str(judge_folder))
    references, how = images[:4], {"count": 8, "seed": 3, "steps": 2, "guidance": 3.0}
    figures = evaluate(family, TOKEN, references, scorer, judge, **how)

    scenes = ["", "on grass", "in the snow", "at night", "on the beach", "at sunset", "", "on grass"]
    prompts = [f"a photo of a <my-cat> {scene}".strip() for scene in scenes]
    drawn = generate(family, prompts, seed=3, steps=2, guidance=3.0)
    nouns = [prompt.replace("<my-cat>", "cat") for prompt in prompts]
    clip_t = [cosines(clip_folder, [image], [noun]).item() for image, noun in zip(drawn, nouns, strict=True)]
    features = scorer.image_features([*drawn, *references])
    clip_i = [float(features[i] @ features[8 + k]) for i in range(8) for k in range(4)]
    assert figures["pictures"] == 8
    assert figures["clip_t"] == pytest.approx(sum(clip_t) / 8, rel=1e-3)
    assert figures["clip_i"] == pytest.approx(sum(clip_i) / 32, rel=1e-3)
    wanted = [None, "grass", "snow", "night", "beach", "sunset", None, "grass"]
    assert draw_in_scenes(family, TOKEN, 8, 3, 2, 3.0)[:2] == (prompts, wanted)
    seen = [labels_seen(judge_folder, image) for image in drawn]
    usual = [labels_seen(judge_folder, image) for image in references]
    assert {key: figures[key] for key in ("object", "scene", "attributes")} == {
        key: value
        for key, value in attribute_accuracy(seen, usual, wanted).items()
        if key in ("object", "scene", "attributes")
    }
    replaced = evaluate(family, TOKEN, references, scorer, word="dog", **how)
    assert replaced["clip_i"] == figures["clip_i"]
    assert replaced["clip_t"] != figures["clip_t"]
    assert set(replaced) == {"pictures", "clip_i", "clip_t"}


def test_evaluate_command(
    model: Path,
    clip_folder: Path,
    judge_folder: Path,
    finished_run: Run,
    pictures: Path,
    images: list[Image.Image],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(finished_run.embedding)
    arguments = ["evaluate", file, "--model", str(model), "--clip", str(clip_folder), "--images", str(pictures)]
    arguments += ["--judge", str(judge_folder), "--count", "3", "--seed", "5", "--steps", "2"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    family = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(file)])
    judge = AttributeJudge(str(judge_folder))
    wanted = evaluate(family, TOKEN, images[:4], ClipScorer(str(clip_folder)), judge, count=3, seed=5, steps=2)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert main(arguments) == 0
    table = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(table) == set(wanted)
    assert float(table["clip_i"]) == pytest.approx(wanted["clip_i"], abs=6e-4)


def test_two_files_in_one_preview(model: Path, tmp_path: Path, finished_run: Run) -> None:
    """Each token means its own file's rows."""
    rows = load_file(finished_run.embedding)["emb_params"]
    write_embedding(Embedding("<other>", {"clip_l": -rows[:1]}), tmp_path / "other.safetensors", "webui")
    files = [str(finished_run.embedding), str(tmp_path / "other.safetensors")]
    family = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(file) for file in files])
    for file, caption in zip(files, ["a <my-cat>", "a <other>"], strict=True):
        alone = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(file)])
        assert torch.equal(family.encode_text([caption]).context, alone.encode_text([caption]).context)
    assert preview(
        files, ["a <my-cat> and a <other>"], ModelConfig(model=str(model)), str(tmp_path / "x.png"), steps=1
    ).exists()


def test_two_files_of_one_token_are_refused(model: Path, finished_run: Run) -> None:
    found = read_embedding(finished_run.embedding)
    with pytest.raises(BadInput, match="two of the embedding files are called '<my-cat>': draw them one at a time"):
        load_with_embeddings(ModelConfig(model=str(model)), [found, found])


def test_a_pickle_draws_as_the_file_for_webuis_does(model: Path, tmp_path: Path, finished_run: Run) -> None:
    """Every format that can be read can be drawn with."""
    found = read_embedding(finished_run.embedding)
    write_embedding(found, tmp_path / "cat.pt", "a1111-pt")
    other = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(tmp_path / "cat.pt")])
    wanted = load_with_embeddings(ModelConfig(model=str(model)), [found])
    assert torch.equal(other.encode_text(["a <my-cat>"]).context, wanted.encode_text(["a <my-cat>"]).context)
