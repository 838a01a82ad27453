"""The parts of miniatures, with random weights: tokenizers, text encoders and VAEs of every kind."""

from __future__ import annotations

from typing import Any

WORDS = ("photo", "of", "cat", "dog", "the", "in", "on", "red", "snow", "beach", "my", "picture", "good", "cropped")
WIDTHS = {"clip_l": 32, "clip_h": 32, "clip_g": 40, "t5xxl": 80, "qwen3_06b": 32, "qwen3_4b": 16}
POOLED = 24


def build_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """CLIP's kind of byte-level BPE, with WORDS as single tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges = []
    for word in WORDS:
        left, *rest = (*word[:-1], word[-1] + "</w>")
        for right in rest:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
    entries = [*alphabet, *(letter + "</w>" for letter in alphabet), *(left + right for left, right in merges)]
    vocabulary = {entry: number for number, entry in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad)
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in WORDS)
    return tokenizer


def build_encoder(slot: str, tokenizer: Any, projects: bool = False) -> Any:
    """OpenAI's CLIP has quick_gelu; OpenCLIP has gelu, and SDXL's a projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTHS[slot],
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_act="quick_gelu" if slot == "clip_l" else "gelu",
        projection_dim=POOLED if slot == "clip_g" else WIDTHS[slot],
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=2,  # as in the published models, which is wrong: see families/slots.py
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def build_vae(**settings: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=32,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        **settings,
    )


def build_t5_tokenizer() -> Any:
    """A sentencepiece-like tokenizer with WORDS as single tokens, and letters."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(f"\u2581{word}", -1.0) for word in (*WORDS, "a")]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def build_t5(tokenizer: Any) -> Any:
    from transformers import T5Config, T5EncoderModel

    # more entries than the tokenizer has words, as in the published model
    config = T5Config(
        vocab_size=len(tokenizer) + 5,
        d_model=WIDTHS["t5xxl"],
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
    )
    return T5EncoderModel(config)


CHAT = (  # what Qwen 3's own template comes to for one message of a user, without thinking
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)


def build_qwen_tokenizer() -> Any:
    """Qwen's kind of byte-level BPE, with WORDS as single tokens, also behind a space."""
    from tokenizers import AddedToken
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    words = sorted((*WORDS, "user", "assistant"), key=len, reverse=True)  # so that no part of one is merged first
    merges = []
    for word in words:
        left, *rest = word
        for right in rest:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
    merges += [("\u0120", word) for word in (*words, "a")]
    entries = [*sorted(ByteLevel.alphabet()), *dict.fromkeys(left + right for left, right in merges)]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=4096)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in ("<think>", "</think>")])
    tokenizer.chat_template = CHAT
    assert all(len(tokenizer(f" {word}").input_ids) == len(tokenizer(word).input_ids) == 1 for word in WORDS)
    return tokenizer


def build_qwen(slot: str, tokenizer: Any, layers: int, causal: bool = False) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

    config = Qwen3Config(
        vocab_size=len(tokenizer) + 20,  # the published model has 267 in stock
        hidden_size=WIDTHS[slot],
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return (Qwen3ForCausalLM if causal else Qwen3Model)(config)
