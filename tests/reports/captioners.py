"""Miniatures of image-to-text models with random weights, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = ("a", "cat", "on", "the", "grass", "sofa", "photo", "of", "red", "dog", "in", "snow")
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**TOWER, "image_size": 32, "patch_size": 8, "initializer_range": 0.02}  # BLIP's own makes all pictures alike


def make_loud(model: Any) -> None:
    """So that what a random model writes depends on the picture."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(60 if "crossattention" in name else 6)


def build_blip(folder: Path) -> Path:
    """BLIP: a processor of its own, a BERT that writes from [DEC] to [SEP]."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessorPil,
        BlipProcessor,
    )

    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *WORDS]), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder, additional_special_tokens=["[DEC]"])
    ids = {"pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3, "bos_token_id": 5}
    text = {**TOWER, **ids, "vocab_size": len(tokenizer), "encoder_hidden_size": 32, "max_position_embeddings": 96}
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION, projection_dim=16))
    make_loud(model)
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def build_tokenizer() -> Any:
    """Whole words, for decoders that write from <s> to </s>."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    entries = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({entry: number for number, entry in enumerate(entries)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def build_pair(folder: Path) -> Path:
    """An image encoder and a text decoder, as in vit-gpt2-image-captioning: two folders' worth of processors in one."""
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessorPil,
    )

    tokenizer = build_tokenizer()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    decoder = GPT2Config(
        vocab_size=len(tokenizer), n_positions=96, n_embd=32, n_layer=2, n_head=4, add_cross_attention=True, **ids
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), decoder)
    config.decoder_start_token_id = 1
    config.pad_token_id = 0
    torch.manual_seed(0)
    model = VisionEncoderDecoderModel(config)
    make_loud(model)
    model.generation_config.update(decoder_start_token_id=1, **ids)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


CHAT = (
    "{% for message in messages %}<s> {% for part in message.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }} {% endfor %}{% endfor %}"
)


def build_chat(folder: Path) -> Path:
    """LLaVA: a decoder that is asked about the picture and repeats the question."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = build_tokenizer()
    text = LlamaConfig(
        **TOWER, vocab_size=len(tokenizer), max_position_embeddings=160, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=text, image_token_index=4, vision_feature_layer=-1
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    make_loud(model)
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder
