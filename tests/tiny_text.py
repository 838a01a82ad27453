"""A text encoder and its tokenizer, small enough to be built anew for every test that changes them."""

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = ("a", "photo", "of", "the", "red", "fluffy", "cat", "dog", "my", "in", "style")
WIDTH = 16


def tiny_tokenizer() -> CLIPTokenizer:
    """Knows WORDS, each as one token, and everything else letter by letter."""
    letters = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    merges = list(dict.fromkeys(merges))
    entries = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two frozen layers of WIDTH columns with random weights, the same ones each time."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIPTextModel(config).requires_grad_(False).eval()
