"""All sizes and training plans of the bundled models."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 20261121
PICTURES = 60_000  # rendered for training
VALIDATION = 1_000  # further pictures, which no model is trained on

VOCABULARY_MERGES = 1_040
CAPTIONS_FOR_TOKENIZER = 20_000
# Words of prompts that no caption of the world has; they get merges, so that each is only a few tokens.
EXTRA_WORDS = """
    style of painting sketch watercolor oil portrait landscape poster print engraving mosaic sculpture figurine toy
    plush cropped close up bright dark clean dirty cool weird nice good beautiful detailed masterpiece best quality
    high digital art pixel anime cartoon photograph depiction rendering rendition person man woman child puppy
    kitten animal pet bear elephant horse teapot mug backpack clock statue bottle vase chair table ball book hat
    robot sunglasses shoe sneaker mountain river forest desert city street castle ocean sea lake sky cloud rain sun
    moon light summer winter spring autumn wearing sitting standing running swimming flying holding gray grey gold
    silver next to under over behind in front of and with without from at by for on top two three many several some
    very""".split()  # noqa: SIM905

TEXT_TOWER = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
    "projection_dim": 128,
    "hidden_act": "quick_gelu",
}
IMAGE_TOWER = {
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": 64,
    "patch_size": 8,
    "projection_dim": 128,
    "hidden_act": "quick_gelu",
}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (16, 32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 64,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
}
UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (48, 80, 112),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
    "use_linear_projection": True,
}
FLOW_TEXT = {
    "d_model": 128,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 3,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}
FLOW = {
    "in_channels": 16,
    "num_layers": 2,
    "num_single_layers": 4,
    "attention_head_dim": 32,
    "num_attention_heads": 5,
    "joint_attention_dim": 128,
    "axes_dims_rope": (8, 12, 12),
    "approximator_num_channels": 16,
    "approximator_hidden_dim": 64,
    "approximator_layers": 2,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
JUDGE = {
    "embedding_size": 24,
    "hidden_sizes": [32, 64, 96, 160],
    "depths": [1, 1, 1, 1],
    "groups_width": 32,
    "layer_type": "x",
    "downsample_in_first_stage": True,
}


@dataclass(frozen=True)
class Plan:
    """How a stage trains: with AdamW; its learning rate rises linearly, stays, and falls to 0 as a cosine."""

    steps: int
    batch: int
    lr: float
    decay_steps: int  # steps at the end in which the learning rate falls
    warmup_steps: int = 200  # steps at the beginning in which it rises
    weight_decay: float = 0.01
    beta2: float = 0.99
    ema: float = 0.999  # decay of the exponential average of the weights


PLANS = {
    "judge": Plan(steps=3_000, batch=64, lr=2e-3, decay_steps=2_000, weight_decay=0.02, ema=0.99),
    "clip": Plan(steps=2_200, batch=128, lr=1e-3, decay_steps=1_400, weight_decay=0.05, beta2=0.98, ema=0.99),
    "clip-longer": Plan(steps=4_000, batch=128, lr=1e-3, decay_steps=3_400, weight_decay=0.05, beta2=0.98, ema=0.99),
    "vae": Plan(steps=16_000, batch=4, lr=6e-4, decay_steps=8_000, weight_decay=1e-4),
    "unet": Plan(steps=12_000, batch=32, lr=1e-3, decay_steps=5_000),
}

FLOW_PLAN = Plan(steps=6_400, batch=32, lr=1.5e-3, decay_steps=3_200)

MAX_BYTES = 16_000_000  # of tiny-sd and tiny-clip together

GUIDANCE_DROPOUT = 0.1  # share of captions that are left empty, for classifier-free guidance
MIN_SNR_GAMMA = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"
KL_WEIGHT = 1e-3
EDGE_WEIGHT = 0.5

# How the report draws its pictures.
PROMPTS = 200
SAMPLING_STEPS = 20  # of DDIM
GUIDANCE = 5.0
