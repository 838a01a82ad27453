"""What settings are called elsewhere: in the scripts of diffusers, kohya's, OneTrainer, invoke-training and A1111."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from ..files.wording import flag
from .fields import LONGEST_TEXT

ALIKE = 0.75  # of two names, by difflib: "lrate" is not "lean_unet"

SAME = {  # theirs -> ours
    # diffusers
    "adam_weight_decay": "weight_decay",
    "center_crop": "crop",
    "checkpointing_steps": "checkpoint_every",
    "initializer_token": "init",
    "learnable_property": "templates",
    "learning_rate": "lr",
    "lr_scheduler": "lr_schedule",
    "lr_warmup_steps": "warmup_steps",
    "max_train_steps": "steps",
    "mixed_precision": "precision",
    "num_validation_images": "preview_seeds",
    "output_dir": "output",
    "placeholder_token": "token",
    "pretrained_model_name_or_path": "model",
    "resume_from_checkpoint": "resume",
    "save_steps": "save_every",
    "snr_gamma": "gamma",
    "train_batch_size": "batch_size",
    "train_data_dir": "images",
    "validation_prompt": "prompts",
    "validation_steps": "preview_every",
    # kohya's
    "alpha_mask": "masks",
    "cache_latents_to_disk": "latent_cache",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "enable_bucket": "buckets",
    "flip_aug": "flip",
    "init_word": "init",
    "keep_tokens": "keep_tags",
    "log_with": "report_to",
    "masked_loss": "masks",
    "max_token_length": "long_captions",
    "min_snr_gamma": "gamma",
    "num_vectors_per_token": "num_vectors",
    "optimizer_args": "optimizer",
    "optimizer_type": "optimizer",
    "output_name": "name",
    "prior_loss_weight": "class_weight",
    "random_crop": "crop",
    "reg_data_dir": "class_images",
    "sample_every_n_steps": "preview_every",
    "sample_prompts": "prompts",
    "save_every_n_steps": "save_every",
    "shuffle_caption": "shuffle_tags",
    "token_string": "token",
    "use_object_template": "templates",
    "use_style_template": "templates",
    # OneTrainer
    "aspect_ratio_bucketing": "buckets",
    "backup_after": "checkpoint_every",
    "base_model_name": "model",
    "clip_grad_norm": "max_grad_norm",
    "concept_file_name": "concepts",
    "embedding_learning_rate": "lr",
    "initial_embedding_text": "init",
    "latent_caching": "latent_cache",
    "learning_rate_scheduler": "lr_schedule",
    "learning_rate_warmup_steps": "warmup_steps",
    "loss_weight_fn": "weighting",
    "loss_weight_strength": "gamma",
    "masked_training": "masks",
    "output_model_destination": "output",
    "sample_after": "preview_every",
    "tensorboard": "report_to",
    "timestep_distribution": "timesteps",
    "token_count": "num_vectors",
    "train_dtype": "precision",
    "unmasked_weight": "mask_background",
    "workspace_dir": "output",
    # invoke-training
    "cache_vae_outputs": "latent_cache",
    "caption_preset": "templates",
    "initial_phrase": "init",
    "validate_every_n_steps": "preview_every",
    # A1111
    "clip_grad_value": "max_grad_norm",
    "create_image_every": "preview_every",
    "dataset_directory": "images",
    "embedding_learn_rate": "lr",
    "initialization_text": "init",
    "log_directory": "output",
    "max_steps": "steps",
    "prompt_template_file": "templates",
    "save_embedding_every": "save_every",
    "tag_drop_out": "tag_dropout",
    "vectors_per_token": "num_vectors",
}

ATTENTION = "PyTorch's own attention is used, which needs no setting: leave it out"
EPOCHS = "there are no epochs here: {steps} counts optimiser steps, whatever the number of pictures"
PARTS = "give {batch_size} what one step is to see; it is cut into parts that fit the memory by itself"
LOADING = "pictures are encoded once and kept, so nothing has to be loaded beside the training: leave it out"
LORA = "this trains embeddings, no LoRA: leave it out"
FORMATS = "files load in WebUIs and in diffusers; `ti-trainer convert` writes every other format"
INSTEAD = {  # theirs -> what is done here, with {our names} in braces
    "adam_beta1": 'write {optimizer} "adamw:beta1=0.9"',
    "adam_beta2": 'write {optimizer} "adamw:beta2=0.99"',
    "adam_epsilon": 'write {optimizer} "adamw:eps=1e-8"',
    "caption_extension": "captions are .txt files beside the pictures, found by themselves: leave it out",
    "checkpoints_total_limit": "checkpoints are a few kilobytes, and all are kept: leave it out",
    "dataloader_num_workers": LOADING,
    "debiased_estimation_loss": "write {weighting} debiased",
    "enable_xformers_memory_efficient_attention": ATTENTION,
    "epochs": EPOCHS,
    "gradient_accumulation_steps": PARTS,
    "gradient_step": PARTS,
    "hub_model_id": "`ti-trainer publish RUN --to OWNER/NAME` uploads a finished run",
    "hub_token": "`ti-trainer publish` uses the hub's own login",
    "in_json": "captions of a .jsonl file are read when {images} names it",
    "logging_dir": "logs lie in the run's folder",
    "max_data_loader_n_workers": LOADING,
    "max_train_epochs": EPOCHS,
    "mem_eff_attn": ATTENTION,
    "min_bucket_reso": "write {buckets}: shapes follow from the pictures and {resolution}",
    "max_bucket_reso": "write {buckets}: shapes follow from the pictures and {resolution}",
    "network_alpha": LORA,
    "network_dim": LORA,
    "network_module": LORA,
    "noise_offset": "there is none here: the noise is the one that the model was trained with",
    "num_train_epochs": EPOCHS,
    "preserve_embedding_norm": "{optimizer} sphere, the default, keeps the length of the rows: leave it out",
    "push_to_hub": "`ti-trainer publish RUN --to OWNER/NAME` uploads a finished run",
    "repeats": "{steps} says how long it learns, whatever the number of pictures: leave it out",
    "save_as_full_pipeline": "only the learned rows are saved, which any copy of the model loads: leave it out",
    "save_model_as": FORMATS,
    "scale_lr": "{lr} is the same for every batch size: leave it out",
    "sdpa": ATTENTION,
    "tokenizer_name": "the model's own tokenizer is used: leave it out",
    "v2": "what kind of model it is, its files say: leave it out",
    "v_parameterization": "write {prediction_type} v_prediction, if the model's files do not say so",
    "weights": "write {init} file:PATH",
    "xformers": ATTENTION,
}


def other_name(name: str, known: Collection[str]) -> str:
    """What to write instead of a setting that there is not, as the end of a sentence; "" where nobody knows.

    name: with or without dashes; known: our names.
    """
    bare = name[:LONGEST_TEXT].strip("-").replace("-", "_").lower()
    if bare in SAME:
        return f"it is {flag(SAME[bare])} here"
    if bare in INSTEAD:
        return INSTEAD[bare].format_map(Flags())
    near = difflib.get_close_matches(bare, known, n=1, cutoff=ALIKE)
    return f"did you mean {flag(near[0])}?" if near else ""


class Flags(dict[str, str]):
    """Names as `flag` writes them."""

    def __missing__(self, name: str) -> str:
        return flag(name)
