"""A tokenizer like CLIP's, with byte-pair merges learned from the captions of the world."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from .pictures import caption
from .settings import CAPTIONS_FOR_TOKENIZER, EXTRA_WORDS, VOCABULARY_MERGES

CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def learn_merges() -> list[tuple[str, str]]:
    """The byte-pair merges of captions and EXTRA_WORDS, the most frequent first."""
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True), ByteLevel(add_prefix_space=False)]
    )
    corpus = [caption(index, 0) for index in range(CAPTIONS_FOR_TOKENIZER)] + [" ".join(EXTRA_WORDS)] * 50
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_MERGES, end_of_word_suffix="</w>", show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(corpus, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


def build_tokenizer() -> CLIPTokenizer:
    """A new tokenizer, with its vocabulary in CLIP's order.

    The order is bytes, bytes at the end of a word, merges, start and end of text; texts are padded with the end.
    """
    alphabet = sorted(ByteLevel.alphabet())
    merges = learn_merges()
    entries = [*alphabet, *(letter + "</w>" for letter in alphabet), *(a + b for a, b in merges)]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [pair for pair in merges if pair[0] in vocabulary and pair[1] in vocabulary]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer in `folder/tokenizer`, which the first call learns."""
    if not (folder / "tokenizer" / "tokenizer_config.json").exists():
        build_tokenizer().save_pretrained(folder / "tokenizer")
    return CLIPTokenizer.from_pretrained(folder / "tokenizer")
