"""What is asked of the trainer: one concept, or many; and what each of several processes does of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..config.config import TrainConfig
from ..config.together import check_together
from ..errors import Incomplete, Interrupted
from ..families.borrowing import Pipeline
from ..files.wording import flag, printable, resuming, told
from ..runs.folder import RunFolder
from ..runs.resume import Entry, check_folder, with_found_words
from ..runs.storage import Storage
from .admission import Admission, SharedModel
from .console import Console, Silence, SingleTerminal, Terminal
from .endings import Endings
from .events import Callback, Run
from .failures import reason_of
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
    refused: Mapping[str, Exception] | None = None,
) -> list[Run]:
    """Learn many concepts at once; the rows of each are what `train` would give, to rounding.

    They share the model and its batches, but neither settings nor randomness, so they may have steps, learning rates
    and ends of their own. Of several processes (`accelerate launch`) each takes concepts of its own and nothing is
    sent, as long as there are as many concepts as processes; otherwise they share the examples of every concept, and
    the gradients of the rows are sent. Returns the runs that this process has finished.

    With `resume=True` only what is not published yet is done. A concept whose input is bad, that diverges, or that
    meets a mistake in the program, does not stop the others: Incomplete is raised at the end. refused: concepts of the
    job that cannot even be tried, and why. All else is as in `train`.
    """
    started = time.perf_counter()
    if pipeline is not None:
        configs = [replace(config, model=pipeline.name_or_path or type(pipeline).__name__) for config in configs]
    refused = refused or {}
    count = len(configs) + len(refused)
    is_list = count > 1
    if configs or not refused:
        check_together(configs)
    ready, failures = look_up(configs, refused, is_list)
    if not ready:
        raise summary(failures, count)
    processes = Processes(ready[0].precision)
    processes.wait()  # all have checked the folders before one writes into them
    if not processes.is_main:
        console = Silence()
        failures = {}  # the main process tells of them
    elif console is None:
        console = Terminal(started) if is_list else SingleTerminal(started)
    for name, problem in failures.items():
        console.failed(name, problem)
    order = ready
    if 1 < processes.count <= len(ready):
        order = deal(ready, processes.rank, processes.count)
        processes = processes.alone()

    model = SharedModel(ready[0], processes, pipeline)
    seats = Seats()
    endings = Endings(seats, processes.device, console, configs if is_list else [])
    admission = Admission(order, model, seats, endings, console, callbacks, started, is_list)
    try:
        with StopSignals(stop) as signals:
            is_whole = Loop(model, seats, admission, endings, console, signals).run()
        if not is_whole:
            raise Interrupted(how_to_go_on(seats, is_list), signals.received or 0)
    finally:  # whatever happens, files are closed and locks given back
        seats.leave_all()
        console.close()
        model.let_go()
    if failures := endings.sum_up(failures, processes.is_main):
        raise summary(failures, count)
    return endings.runs


def look_up(
    configs: Sequence[TrainConfig], refused: Mapping[str, Exception], is_list: bool
) -> tuple[list[TrainConfig], dict[str, Exception]]:
    """The configs whose folders let them begin or go on, and the problems of the others and of those refused before."""
    failures = {name: reason_of(problem) if is_list else problem for name, problem in refused.items()}
    manifests: dict[str, Mapping[str, Entry] | Exception] = {}  # each is read in one go: it may be far away
    ready = []
    for config in configs:
        try:
            if is_list and config.output not in manifests:
                manifests[config.output] = read_manifest(config.output)
            manifest = manifests.get(config.output)
            if isinstance(manifest, Exception):
                raise manifest
            config = with_found_words(config, manifest)
            check_folder(RunFolder(config), manifest)
        except Exception as problem:
            if not is_list:
                raise
            failures[config.run_name] = reason_of(problem, config)
        else:
            ready.append(config)
    return ready, failures


def read_manifest(output: str) -> Mapping[str, Entry] | Exception:
    """What is published in an output, or why nobody can tell."""
    try:
        return Storage(output).published()
    except Exception as problem:
        return problem


def summary(failures: Mapping[str, Exception], count: int) -> Exception:
    """What is raised at the end of a job of so many concepts: the one problem that all have, or a list of problems."""
    first, *others = failures.values()
    if len(failures) == count and all(other is first for other in others):
        return first
    return Incomplete.because({printable(name): told(problem) for name, problem in failures.items()}, count)


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
    return f"stopped after step {done}; to go on:\n  {resuming(folders[0].files.config)}"
