"""What accelerate knows: the device, the precision, and the other processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TypeVar

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

Value = TypeVar("Value")

DTYPES = {"no": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Processes:
    """The processes that train together; the rows are the same in all of them after every step."""

    def __init__(self, precision: str) -> None:
        self._accelerator = Accelerator()
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.dtype = choose_dtype(precision, self._accelerator.mixed_precision, self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(choose_threads(os.environ, torch.get_num_threads(), psutil.cpu_count(logical=False)))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def alone(self) -> Processes:
        """This process as if there were no other: nothing is sent, nobody is waited for."""
        alone = copy(self)
        alone.rank = 0
        alone.count = 1
        return alone

    def share(self, total: int) -> range:
        """Which of `total` examples are this process's."""
        return range(self.rank, total, self.count)

    def sum(self, *groups: Sequence[Tensor]) -> list[list[Tensor]]:
        """Each tensor summed over all processes, in one message."""
        tensors = [tensor for group in groups for tensor in group]
        if self.count > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            parts = self._accelerator.reduce(flat, "sum").split([tensor.numel() for tensor in tensors])
            tensors = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        left = iter(tensors)
        return [[next(left) for _ in group] for group in groups]

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        ((wishes,),) = self.sum([torch.tensor(float(wish), device=self.device)])
        return bool(wishes > 0)

    def gather(self, value: Value) -> list[Value]:
        """What each process has, in their order."""
        return gather_object([value]) if self.count > 1 else [value]

    def wait(self) -> None:
        if self.count > 1:
            self._accelerator.wait_for_everyone()


def choose_dtype(precision: str, launched_with: str, device: torch.device) -> torch.dtype:
    """The dtype of the frozen weights; rows are float32 in any case.

    auto: what `accelerate launch --mixed_precision` said, else bfloat16 on GPUs that have it, else float32.
    """
    if precision != "auto":
        return DTYPES[precision]
    if launched_with in ("bf16", "fp16"):
        return DTYPES[launched_with]
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def choose_threads(environment: Mapping[str, str], threads: int, cores: int | None) -> int:
    """The threads of this process on a CPU: `threads`, unless a launcher has cut them down to one.

    `accelerate launch` and torchrun do so where nobody has said anything else; then it is this process's share of the
    cores, since training is all that it does.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in environment or "TORCHELASTIC_RUN_ID" in environment
    if not launched or environment.get("OMP_NUM_THREADS") != "1" or not cores:
        return threads
    return max(1, cores // int(environment.get("LOCAL_WORLD_SIZE", 1)))
