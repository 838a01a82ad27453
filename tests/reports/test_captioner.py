"""Captions by image-to-text models, against plain calls of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.reports.captioners import build_blip, build_chat, build_pair
from ti_trainer import BadInput
from ti_trainer.reports.captioner import MOST_TOKENS, QUESTION, Captioner


@torch.no_grad()
def test_blip(tmp_path: Path, images: list[Image.Image]) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    folder = build_blip(tmp_path / "blip")
    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = BlipProcessor.from_pretrained(folder)
    captioner = Captioner(str(folder))
    wanted = []
    for image in images:
        written = model.generate(**processor(images=image, return_tensors="pt"), max_new_tokens=MOST_TOKENS)
        wanted.append(processor.decode(written[0], skip_special_tokens=True))
    assert [captioner(image) for image in images] == wanted
    assert len(set(wanted)) > 1


@torch.no_grad()
def test_an_encoder_and_a_decoder(tmp_path: Path, images: list[Image.Image]) -> None:
    from transformers import AutoTokenizer, VisionEncoderDecoderModel, ViTImageProcessorPil

    folder = build_pair(tmp_path / "pair")
    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    processor = ViTImageProcessorPil.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    captioner = Captioner(str(folder))
    wanted = []
    for image in images:
        pixels = processor(image, return_tensors="pt").pixel_values
        written = model.generate(pixel_values=pixels, max_new_tokens=MOST_TOKENS)
        wanted.append(tokenizer.decode(written[0], skip_special_tokens=True))
    assert [captioner(image) for image in images] == wanted
    assert len(set(wanted)) > 1


@torch.no_grad()
def test_a_model_that_is_asked(tmp_path: Path, images: list[Image.Image]) -> None:
    """Its caption is what it writes after the question, which holds 16 tokens for the picture."""
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    folder = build_chat(tmp_path / "chat")
    model = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = LlavaProcessor.from_pretrained(folder)
    captioner = Captioner(str(folder))
    wanted = []
    for image in images:
        inputs = processor(images=image, text=f"<s> <image> {QUESTION} ", return_tensors="pt")
        asked = inputs.input_ids.shape[1]
        assert (inputs.input_ids == 4).sum() == 16
        written = model.generate(**inputs, max_new_tokens=MOST_TOKENS)
        wanted.append(processor.decode(written[0, asked:], skip_special_tokens=True).strip())
    assert [captioner(image) for image in images] == wanted
    assert len(set(wanted)) > 1


def test_what_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", model, tmp_path / "gone"):
        with pytest.raises(BadInput, match=r'captioner=".*" cannot be loaded: '):
            Captioner(str(source))
