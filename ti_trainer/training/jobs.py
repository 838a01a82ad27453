"""What is asked of the trainer: one concept, or many; and what each of several processes does of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ..config.config import TrainConfig
from ..config.together import check_together
from ..errors import Incomplete, Interrupted
from ..families.borrowing import Pipeline
from ..files.wording import flag
from ..runs.folder import RunFolder
from ..runs.resume import check_folder, resume_command, with_found_words
from ..runs.storage import Storage
from .admission import Admission, SharedModel
from .console import Console, Silence, SingleTerminal, Terminal
from .endings import Endings
from .events import Callback, Run
from .loop import Loop
from .processes import Processes
from .seats import Seats
from .signals import Flag, StopSignals


def train(
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    pipeline: Pipeline | None = None,
    stop: Flag | None = None,
    console: Console | None = None,
) -> Run:
    """Learn the concept of a config and write OUTPUT/NAME.

    callbacks: each gets every `Event`, in the process that writes the files. pipeline: a loaded diffusers pipeline to
    train on, in place of the config's model; it is left as it was. stop: anything with `is_set()`, such as a
    threading.Event: once it is set, the run ends as on SIGINT. console: where the run says what it does, by default the
    terminal.

    Raises BadInput before anything is written; Diverged when the loss becomes NaN or infinite, and Interrupted on
    SIGINT, SIGTERM or `stop`. Both leave a checkpoint; after an interrupt the same config with `resume=True` goes on,
    bit for bit.
    """
    (run,) = train_all([config], callbacks, pipeline, stop, console)
    return run


def train_all(
    configs: Sequence[TrainConfig],
    callbacks: Sequence[Callback] = (),
    pipeline: Pipeline | None = None,
    stop: Flag | None = None,
    console: Console | None = None,
) -> list[Run]:
    """Learn many concepts at once; the rows of each are what `train` would give, to rounding.

    They share the model and its batches, but neither settings nor randomness, so they may have steps, learning rates
    and ends of their own. Of several processes (`accelerate launch`) each takes concepts of its own and nothing is
    sent, as long as there are as many concepts as processes; otherwise they share the examples of every concept, and
    the gradients of the rows are sent. Returns the runs that this process has finished.

    With `resume=True` only what is not published yet is done. A concept whose input is bad, or that diverges, does not
    stop the others: Incomplete is raised at the end. Arguments, and Interrupted, as in `train`.
    """
    started = time.perf_counter()
    if pipeline is not None:
        configs = [replace(config, model=pipeline.name_or_path or type(pipeline).__name__) for config in configs]
    check_together(configs)
    is_list = len(configs) > 1
    outputs = {config.output for config in configs} if is_list else ()
    manifests = {output: Storage(output).published() for output in outputs}  # each in one go: it may be far away
    configs = [with_found_words(config, manifests.get(config.output)) for config in configs]
    for config in configs:
        check_folder(RunFolder(config), manifests.get(config.output))
    processes = Processes(configs[0].precision)
    processes.wait()  # all have checked the folders before one writes into them
    if not processes.is_main:
        console = Silence()
    elif console is None:
        console = Terminal(started) if is_list else SingleTerminal(started)
    order = list(configs)
    if 1 < processes.count <= len(configs):
        order = deal(configs, processes.rank, processes.count)
        processes = processes.alone()

    model = SharedModel(configs[0], processes, pipeline)
    seats = Seats()
    endings = Endings(seats, processes.device, console)
    admission = Admission(order, model, seats, endings, console, callbacks, started, is_list)
    try:
        with StopSignals(stop) as signals:
            is_whole = Loop(model, seats, admission, endings, console, signals).run()
        if not is_whole:
            raise Interrupted(how_to_go_on(seats, is_list), signals.received or 0)
    finally:  # whatever happens, files are closed and locks given back
        seats.leave_all()
        console.close()
    if endings.failures and not is_list:
        raise next(iter(endings.failures.values()))
    if endings.failures:
        reasons = "\n".join(f"  {name}: {problem}" for name, problem in endings.failures.items())
        raise Incomplete(f"{len(endings.failures)} of {len(configs)} concepts failed:\n{reasons}")
    return endings.runs


def deal(configs: Sequence[TrainConfig], rank: int, count: int) -> list[TrainConfig]:
    """The concepts of one of several processes, its own first.

    Behind them come those of the others, which it takes over where nobody is at work on them: a lock tells. That works
    where all see one folder, so not for remote outputs; and what is overwritten must not be done twice.
    """
    own = list(configs[rank::count])
    others = [config for place, config in enumerate(configs) if place % count != rank]
    return own + [config for config in others if RunFolder(config).is_local and not config.overwrite]


def how_to_go_on(seats: Seats, is_list: bool) -> str:
    """What a run that was stopped says."""
    if is_list:
        return f"stopped, and everything is saved; to go on: the same again with {flag('resume', True)}"
    folders = [seat.folder for seat in seats]
    steps = [seat.learner.config.steps for seat in seats]
    if not folders or not folders[0].checkpoints.steps():
        return "stopped before a step was taken; to go on, run the same command again"
    done = f"{folders[0].checkpoints.steps()[-1]} of {steps[0]}"
    return f"stopped after step {done}; to go on:\n  {resume_command(folders[0])}"
