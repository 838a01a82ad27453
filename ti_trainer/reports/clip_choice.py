"""Which of several texts a CLIP holds for a picture's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from .scorers import ClipScorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# By so much the logit of a text has to exceed that of the first one. Without it the bundled CLIP finds a phrase for
# nearly every picture that none fits; right ones are hardly ever lost.
CLEARLY = 0.5


class ClipChoice:
    """Chooses texts for pictures, and is the vocabulary of the CLIP that it asks."""

    def __init__(self, scorer: ClipScorer) -> None:
        self.scorer = scorer
        self.scale = scorer.model.logit_scale.exp().item()
        self.features: dict[str, Tensor] = {}  # of the texts so far, (P,)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.scorer.tokenizer

    @property
    def table(self) -> Tensor:
        """The embeddings of the words, (V, D)."""
        return self.scorer.model.text_model.get_input_embeddings().weight

    def choose(self, image: Image.Image, texts: Sequence[str]) -> int:
        """The number of the text that lies nearest to a picture; 0 unless it does so CLEARLY more than the first."""
        new = [text for text in dict.fromkeys(texts) if text not in self.features]
        if new:
            self.features.update(zip(new, self.scorer.text_features(new), strict=True))
        seen = self.scorer.image_features([image])[0]  # (P,)
        logits = self.scale * torch.stack([self.features[text] for text in texts]) @ seen  # (texts,)
        best = int(logits.argmax())
        return best if logits[best] - logits[0] > CLEARLY else 0
