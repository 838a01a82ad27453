"""What is asked of the trainer: one concept, or many; and what each of several processes does of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..config.config import TrainConfig
from ..config.together import check_together
from ..errors import Incomplete
from ..runs.folder import RunFolder
from ..runs.storage import Storage
from .console import Console
from .loop import Loop, Run
from .processes import Processes
from .report import Callback
from .signals import StopSignals


def train(config: TrainConfig, callbacks: Sequence[Callback] = ()) -> Run:
    """Learn the concept of a config and write OUTPUT/NAME; each callback gets every line of metrics.jsonl.

    Raises BadInput before anything is written; Diverged when the loss becomes NaN or infinite, and Interrupted on
    SIGINT or SIGTERM. Both leave a checkpoint; after an interrupt the same config with `resume=True` goes on bit for
    bit.
    """
    (run,) = train_all([config], callbacks)
    return run


def train_all(configs: Sequence[TrainConfig], callbacks: Sequence[Callback] = ()) -> list[Run]:
    """Learn many concepts at once; the rows of each are what `train` would give, to rounding.

    They share the model and its batches, but neither settings nor randomness, so they may have steps, learning rates
    and ends of their own. Of several processes (`accelerate launch`) each takes concepts of its own and nothing is
    sent, as long as there are as many concepts as processes; otherwise they share the examples of every concept, and
    the gradients of the rows are sent. Returns the runs that this process has finished.

    With `resume=True` only what is not published yet is done. A concept whose input is bad, or that diverges, does not
    stop the others: Incomplete is raised at the end. Interrupted as in `train`.
    """
    started = time.perf_counter()
    check_together(configs)
    many = len(configs) > 1
    outputs = {config.output for config in configs} if many else ()
    manifests = {output: Storage(output).published() for output in outputs}  # each in one go: it may be far away
    for config in configs:
        RunFolder(config).check(manifests.get(config.output))
    processes = Processes(configs[0].precision)
    processes.wait()  # all have checked the folders before one writes into them
    speaks, order = processes.is_main, list(configs)
    if 1 < processes.count <= len(configs):
        order, processes = deal(configs, processes.rank, processes.count), processes.alone()
    loop = Loop(order, processes, callbacks, started, many, Console(started, many, speaks))
    with StopSignals() as signals, loop.closing():
        loop.run(signals)
    if loop.failures:
        reasons = "\n".join(f"  {name}: {problem}" for name, problem in loop.failures.items())
        raise Incomplete(f"{len(loop.failures)} of {len(configs)} concepts failed:\n{reasons}")
    return loop.runs


def deal(configs: Sequence[TrainConfig], rank: int, count: int) -> list[TrainConfig]:
    """The concepts of one of several processes, its own first.

    Behind them come those of the others, which it takes over where nobody is at work on them: a lock tells. That works
    where all see one folder, so not for remote outputs; and what is overwritten must not be done twice.
    """
    own = list(configs[rank::count])
    others = [config for place, config in enumerate(configs) if place % count != rank]
    return own + [config for config in others if RunFolder(config).is_local and not config.overwrite]
