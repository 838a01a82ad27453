"""What judges measure, against means of single comparisons and against counting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny_judge import labels_seen
from ti_trainer.reports.measures import Attributes, Judge, Likeness, open_judge
from ti_trainer.reports.prompts import Prompt
from ti_trainer.reports.scorers import ClipScorer, ImageScorer, Source

PROMPTS = [Prompt("a {token}"), Prompt("a photo of a {token} in the snow", "snow"), Prompt("a red {token}")]


def test_likeness_is_the_mean_over_pairs(dino_folder: Path, images: list[Image.Image]) -> None:
    drawn, references = images[4:], images[:4]
    judge = open_judge(Source(str(dino_folder)), references)
    features = ImageScorer(str(dino_folder)).image_features([*drawn, *references]).double()
    wanted = [sum(float(features[i] @ features[3 + k]) for k in range(4)) / 4 for i in range(3)]
    values = judge.values(drawn, PROMPTS, "cat")
    assert set(values) == {"identity"} == set(judge.measures)
    assert values["identity"].tolist() == pytest.approx(wanted, rel=1e-5)
    others = [float(features[3 + i] @ features[3 + k]) for i in range(4) for k in range(4) if i != k]
    assert judge.real() == {"identity": pytest.approx(sum(others) / 12, rel=1e-5)}
    assert len(set(values["identity"].tolist())) == 3


def test_one_real_picture_cannot_be_compared_with_others(dino_folder: Path, images: list[Image.Image]) -> None:
    assert open_judge(Source(str(dino_folder)), images[:1]).real() == {}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_prompts_with_the_class_and_without(
    kind: str, request: pytest.FixtureRequest, images: list[Image.Image]
) -> None:
    """ "a {token}" asks for nothing else, so it has no number where the subject is left out."""
    folder = str(request.getfixturevalue(f"{kind}_folder"))
    judge = open_judge(Source(folder), images[:4])
    values = judge.values(images[4:], PROMPTS, "cat")
    assert list(values) == ["identity", "prompt", "prompt without noun"] == list(judge.measures)
    scorer = ClipScorer(folder)
    features = scorer.image_features(images[4:]).double()

    def wanted(picture: int, text: str) -> float:
        return float(features[picture] @ scorer.text_features([text])[0].double())

    texts = ["a cat", "a photo of a cat in the snow", "a red cat"]
    assert values["prompt"].tolist() == pytest.approx([wanted(i, text) for i, text in enumerate(texts)], rel=1e-4)
    rest = [wanted(1, "a photo in the snow"), wanted(2, "a red")]
    assert values["prompt without noun"].tolist() == pytest.approx(rest, rel=1e-4)
    assert judge.values(images[4:5], PROMPTS[:1], "cat").keys() == {"identity", "prompt"}
    other = judge.values(images[4:], PROMPTS, "dog")
    assert torch.equal(other["identity"], values["identity"])
    assert not torch.allclose(other["prompt"], values["prompt"])


def test_attributes_are_counted_picture_by_picture(judge_folder: Path, images: list[Image.Image]) -> None:
    judge = open_judge(Source(str(judge_folder)), images[:4])
    assert isinstance(judge, Attributes)
    seen = [labels_seen(judge_folder, image) for image in images]
    usual = {}
    for name in ("object", "colour", "pattern", "accent"):
        own = [each[name] for each in seen[:4]]
        usual[name] = max(set(own), key=own.count)
    values = judge.values(images[4:], PROMPTS, "cat")
    right = {name: [float(each[name] == value) for each in seen[4:]] for name, value in usual.items()}
    assert {name: values[name].tolist() for name in usual} == right
    assert values["attributes"].tolist() == [sum(own[i] for own in right.values()) / 4 for i in range(3)]
    assert values["scene"].tolist() == [float(seen[5]["scene"] == "snow")]  # of the one that was asked for a scene
    assert "scene" not in judge.values(images[4:5], PROMPTS[:1], "cat")
    real = {name: sum(each[name] == value for each in seen[:4]) / 4 for name, value in usual.items()}
    assert judge.real() == pytest.approx({**real, "attributes": sum(real.values()) / 4})


def test_kinds_are_told_from_the_models_themselves(
    clip_folder: Path, siglip_folder: Path, dino_folder: Path, judge_folder: Path, images: list[Image.Image]
) -> None:
    found: dict[str, Judge] = {}
    for folder in (clip_folder, siglip_folder, dino_folder, judge_folder):
        judge = open_judge(Source(str(folder)), images[:1])
        assert judge.name == str(folder)
        assert judge.revision.startswith("weights ")
        found[judge.kind] = judge
    assert list(found) == ["clip", "siglip", "dinov2", "attributes"]
    assert [isinstance(judge, Likeness) for judge in found.values()] == [True, True, True, False]
