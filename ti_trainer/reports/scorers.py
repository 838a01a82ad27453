"""Models that turn pictures, and some of them texts too, into features whose cosines say how alike they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from PIL import Image
from torch import Tensor

from ..config.bundled import resolve
from ..data.latent_cache import content_hash
from ..errors import BadInput
from ..families import fastest_device
from ..files.wording import flag

AT_ONCE = 32  # pictures or texts that go through a model at once

# The models that read texts too, by the model_type in their config.json, and how they were trained to pad them: SigLIP
# knows only texts of its full length, and attends to the padding.
PADDING: dict[str, bool | str] = {"clip": True, "siglip": "max_length", "siglip2": "max_length"}


class Source:
    """Where a model lies: in a folder, in the bundled one of that name, or on the hub as ID or ID@REVISION."""

    def __init__(self, name: str, cache_dir: str | None = None, offline: bool = False, setting: str = "judge") -> None:
        """name: as the user wrote it; cache_dir, offline: as in ModelConfig; setting: the one that holds the name."""
        self.name = name
        self.shown = flag(setting, name)
        self.place = resolve(name)
        revision = None
        if "@" in name and not Path(self.place).exists():
            self.place, _, revision = name.partition("@")
        self.how: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "local_files_only": offline}

    def config(self) -> Any:
        """The model's config.json; raises BadInput."""
        from transformers import AutoConfig

        with self.explained():
            return AutoConfig.from_pretrained(self.place, **self.how)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the loading of a model raises inside the block into BadInput."""
        try:
            yield
        except BadInput:
            raise
        except Exception as error:  # each part of a model is read by a library with errors of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(f"{self.shown} cannot be loaded: {reason}") from None

    def revision(self, model: torch.nn.Module) -> str:
        """The commit that was loaded from the hub; of a folder, a hash of the beginning of every tensor."""
        if not Path(self.place).exists():
            how = {name: self.how[name] for name in ("revision", "cache_dir")}
            config = try_to_load_from_cache(self.place, "config.json", **how)
            if isinstance(config, str):
                return Path(config).parent.name  # the cache has a folder for each commit
        return "weights " + content_hash({name: each.flatten()[:64] for name, each in model.state_dict().items()})[:12]


class ImageScorer:
    """Any image backbone that `AutoModel` loads, such as DINOv2."""

    def __init__(self, source: Source | str, device: torch.device | None = None) -> None:
        """source: a folder, hub id or Source; device: by default the fastest of this machine. Raises BadInput."""
        from transformers import AutoImageProcessor, AutoModel

        self.source = source if isinstance(source, Source) else Source(source)
        self.device = device or fastest_device()
        place, how = self.source.place, self.source.how
        with self.source.explained():
            model, loading = AutoModel.from_pretrained(place, dtype=torch.float32, output_loading_info=True, **how)
            # with torchvision's interpolation the figures would be others
            self.processor = AutoImageProcessor.from_pretrained(place, backend="pil", **how)
        # ViT and its kin are published without the pooler that transformers gives them: it would be random
        lacking = sorted(loading["missing_keys"])
        self.has_pooler = not lacking
        if any("pooler" not in name for name in lacking):
            raise BadInput(f"{self.source.shown} is no whole {type(model).__name__}: it has no {lacking[0]}")
        self.model = model.eval().to(self.device)

    @property
    def kind(self) -> str:
        """Its architecture, as transformers calls it: "dinov2"."""
        return str(self.model.config.model_type)

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """The features of pictures, (B, P), each of length 1, on the CPU."""
        return self.in_batches(self.pictures_at_once, images)

    @torch.no_grad()
    def in_batches(self, features: Any, things: Sequence[Any]) -> Tensor:
        batches = [features(list(things[start : start + AT_ONCE])) for start in range(0, len(things), AT_ONCE)]
        return F.normalize(torch.cat(batches), dim=-1).cpu()

    def pictures_at_once(self, images: list[Image.Image]) -> Tensor:
        """What the model makes of pictures, (B, P): its pooled output, or its first token, CLS, where it has none."""
        seen = self.model(**self.processor(images, return_tensors="pt").to(self.device))
        pooled = getattr(seen, "pooler_output", None) if self.has_pooler else None
        return seen.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)


class ClipScorer(ImageScorer):
    """A model whose features of pictures and texts are compared with each other: CLIP, SigLIP or SigLIP2."""

    def __init__(self, source: Source | str, device: torch.device | None = None) -> None:
        """Arguments as those of ImageScorer. Raises BadInput also for a model that reads no texts."""
        from transformers import AutoTokenizer

        source = source if isinstance(source, Source) else Source(source, setting="clip")
        kind = source.config().model_type
        if kind not in PADDING:
            raise BadInput(f"{source.shown} is a {kind}, which reads no texts; choose a CLIP, SigLIP or SigLIP2")
        super().__init__(source, device)
        with source.explained():
            self.tokenizer = AutoTokenizer.from_pretrained(source.place, **source.how)
        self.padding = PADDING[kind]

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The features of texts, (B, P), each of length 1, on the CPU."""
        return self.in_batches(self.texts_at_once, texts)

    def pictures_at_once(self, images: list[Image.Image]) -> Tensor:
        return self.model.get_image_features(
            **self.processor(images, return_tensors="pt").to(self.device)
        ).pooler_output

    def texts_at_once(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(
            [text.lower() for text in texts],  # as all of them were trained
            padding=self.padding,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        return self.model.get_text_features(input_ids=tokens.input_ids.to(self.device)).pooler_output
