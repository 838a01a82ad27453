"""The frozen model of a job, which its concepts share."""

from __future__ import annotations

import math

from ..config.config import TrainConfig
from ..families import Family
from ..families.borrowing import Pipeline
from .memory.plan import MemoryPlan, plan_memory
from .prepare import Session, load_model, take_model
from .processes import Processes
from .step import SharedStep, largest_batch


class SharedModel:
    """The frozen model of a job: loaded when the first concept asks for it, which also decides how batches are cut."""

    def __init__(self, config: TrainConfig, processes: Processes, pipeline: Pipeline | None = None) -> None:
        """config: of any concept of the job; pipeline: a loaded one, in place of the config's model."""
        self.config = config
        self.processes = processes
        self.pipeline = pipeline
        self._family: Family | None = None
        self._plan: MemoryPlan | None = None
        self._step: SharedStep | None = None

    def load(self) -> Family:
        """The model; read from the disk at the first call. Raises BadInput where it cannot be had."""
        if self._family is None and self.pipeline is not None:
            self._family = take_model(self.config, self.pipeline, self.processes.device)
        elif self._family is None:
            self._family = load_model(self.config, self.processes.device, self.processes.dtype)
        return self._family

    def let_go(self) -> None:
        """Give back its memory, also where the traceback of an error that somebody keeps still knows this object."""
        self._family = self._step = self.pipeline = None

    @property
    def is_planned(self) -> bool:
        return self._step is not None

    @property
    def plan(self) -> MemoryPlan:
        assert self._plan is not None, "make_plan has not been called"
        return self._plan

    @property
    def step(self) -> SharedStep:
        assert self._step is not None, "make_plan has not been called"
        return self._step

    def make_plan(self, session: Session, wanted: int) -> None:
        """Decide how batches are cut, for pictures such as those of the first concept; wanted: examples in a step.

        Raises BadInput where not even one example fits into the memory.
        """
        config = session.config
        family = session.family
        shape = max((view.shape for shown in session.data.views for view in shown), key=math.prod)
        captions = {caption for example in session.data.examples for caption in example.captions}
        plan = plan_memory(
            family,
            shape,
            wanted,
            config.micro_batch_size,
            config.gradient_checkpointing,
            caption=max(captions, key=len),
            distinct=min(1.0, len(captions) / config.batch_size),
        )
        if plan.gradient_checkpointing:
            family.checkpoint_activations()
        self._plan = plan
        self._step = SharedStep(family, self.processes, largest_batch(config, plan.micro_batch * math.prod(shape[1:])))
