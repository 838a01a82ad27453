"""Captions by an image-to-text model: BLIP, its successors, and models that are talked to."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from ..errors import BadInput
from ..families import fastest_device
from ..files.wording import flag

MOST_TOKENS = 60  # of a caption
QUESTION = "Describe this picture in one short sentence."


class Captioner:
    """A model of transformers that says what a picture shows."""

    def __init__(self, source: str) -> None:
        """source: a folder or hub id of what AutoModelForImageTextToText and AutoProcessor load. Raises BadInput.

        Nothing that a model brings as code is run.
        """
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

        self.device = fastest_device()
        dtype = "auto" if self.device.type == "cuda" else torch.float32  # half precision is slow on a CPU
        try:
            self.model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype).eval().to(self.device)
            self.processor = AutoProcessor.from_pretrained(source)
            self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
            if not hasattr(self.processor, "image_processor"):  # an encoder and a decoder have no common processor
                self.processor = AutoImageProcessor.from_pretrained(source)
        except (OSError, ValueError, ImportError) as error:
            raise BadInput(f"{flag('captioner', source)} cannot be loaded: {str(error).splitlines()[0]}") from None

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> str:
        """The model's caption of a picture: its likeliest words one after the other, at most MOST_TOKENS."""
        inputs = self.inputs(image).to(self.device, self.model.dtype)
        written = self.model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)[0]
        asked = inputs.get("input_ids")
        if asked is not None and torch.equal(written[: asked.shape[1]], asked[0]):  # decoders repeat what they are told
            written = written[asked.shape[1] :]
        return str(self.tokenizer.decode(written, skip_special_tokens=True)).strip()

    def inputs(self, image: Image.Image) -> Any:
        """What `generate` takes: the picture, with a QUESTION for models that are talked to."""
        if not getattr(self.processor, "chat_template", None):
            return self.processor(images=image, return_tensors="pt")
        content = [{"type": "image", "image": image}, {"type": "text", "text": QUESTION}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
