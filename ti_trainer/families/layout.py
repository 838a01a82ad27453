"""How the weights of convolutions lie in memory."""

from __future__ import annotations

import torch
from torch import nn

# Where `auto` says yes. oneDNN takes channels-last weights as they are, and any others it rearranges at every call:
# without it a step of Stable Diffusion 1.5 at 256 pixels takes half as long again. GPUs have not been measured.
FASTER_ON = ("cpu",)


def wants_channels_last(choice: str, device: torch.device) -> bool:
    """choice: on, off or auto."""
    return choice == "on" or (choice == "auto" and device.type in FASTER_ON)


@torch.no_grad()
def set_channels_last(model: nn.Module) -> None:
    """Rearrange the weights of all convolutions, each within its own memory; values and shapes stay.

    Weights read by mmap are private pages of a file: written over they replace the file's, copied they would stay in
    memory beside the copy.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.data  # (out, in, h, w)
            arranged = weight.contiguous(memory_format=torch.channels_last)
            module.weight.data = weight.as_strided(arranged.shape, arranged.stride()).copy_(arranged)
