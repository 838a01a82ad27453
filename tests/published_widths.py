"""What text encoders the models of each family have, and how wide they are."""

PUBLISHED = {
    "SD 1.x": {"clip_l": 768},
    "SD 2.x": {"clip_h": 1024},
    "SDXL": {"clip_l": 768, "clip_g": 1280},
    "SD 3": {"clip_l": 768, "clip_g": 1280, "t5xxl": 4096},
    "Flux": {"clip_l": 768, "t5xxl": 4096},
    "Chroma": {"t5xxl": 4096},
    "Anima": {"qwen3_06b": 1024},
    "Flux.2 Klein 4B": {"qwen3_4b": 2560},
    "Flux.2 Klein 9B": {"qwen3_8b": 4096},
}
