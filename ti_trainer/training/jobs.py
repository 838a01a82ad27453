"""What is asked of the trainer: one concept, or many; and what each of several processes does of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..config.config import TrainConfig
from ..config.rows import Refusal
from ..config.together import check_together
from ..errors import Incomplete, Interrupted
from ..families.borrowing import Pipeline
from ..files.wording import flag, printable, resuming, told
from ..runs.folder import RunFolder
from .admission import Admission
from .arrivals import Arrivals, Share
from .console import Console, Silence, SingleTerminal, Terminal
from .endings import Endings
from .events import Callback, Run
from .lookup import look_up, record_refusals
from .loop import Loop
from .processes import Processes
from .seats import Seats
from .shared_model import SharedModel
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
    refused: Sequence[Refusal] = (),
    arrivals: Arrivals | None = None,
) -> list[Run]:
    """Learn many concepts at once; the rows of each are what `train` would give, to rounding.

    They share the model and its batches, but neither settings nor randomness, so they may have steps, learning rates
    and ends of their own. Of several processes (`accelerate launch`) each takes concepts of its own and nothing is
    sent, as long as there are as many concepts as processes; otherwise they share the examples of every concept, and
    the gradients of the rows are sent. Returns the runs that this process has finished, in the order of configs.

    With `resume=True` only what is neither published nor on record as failed is done (`retry_failed` does the latter
    too). A concept whose input is bad, that diverges, or that meets a mistake in the program, does not stop the others:
    its line of the manifest says why, and Incomplete is raised at the end. refused: rows of a list that cannot even be
    tried. arrivals: where further concepts come from; the job goes on until they are closed or it is stopped, and
    returns no runs. All else is as in `train`.
    """
    started = time.perf_counter()
    if pipeline is not None:
        name = getattr(pipeline, "name_or_path", "") or type(pipeline).__name__  # modular ones have no such attribute
        configs = [replace(config, model=name) for config in configs]
    count = len(configs) + len(refused)
    is_list = arrivals is not None or count > 1
    if configs or not (refused or arrivals):
        check_together(configs)
    found = look_up(configs, refused, is_list)
    if not found.ready and arrivals is None:
        if is_list:
            record_refusals(refused, found)
        raise summary(found.failures, count)
    example = found.ready[0] if found.ready else arrivals.example  # type: ignore[union-attr]
    console = console or (Terminal(started) if is_list else SingleTerminal(started))
    part = Part.of(found.ready, Processes(example.precision), console, arrivals)

    model = SharedModel(example, part.processes, pipeline)
    seats = Seats()
    endings = Endings(seats, part.processes, part.console, [example, *configs] if is_list else [], arrivals is None)
    admission = Admission(part.configs, model, seats, endings, part.console, callbacks, started, is_list, part.arrivals)
    part.console.expect(len(part.configs))
    if part.tells:
        part.console.expect(len(found.failures))
        endings.turn_down(found, refused)
    try:
        with StopSignals(stop) as signals:
            is_whole = Loop(model, seats, admission, endings, part.console, signals).run()
        if not is_whole:
            raise Interrupted(how_to_go_on(seats, is_list), signals.received or 0)
    finally:  # whatever happens, files are closed and locks given back
        admission.prefetch.close()
        seats.leave_all()
        part.console.close()
        model.let_go()
    if failures := endings.sum_up(part.processes.is_main):
        raise summary(failures, max(count, len(failures) + endings.finished))
    return in_order(endings.runs, configs)


def in_order(runs: Sequence[Run], configs: Sequence[TrainConfig]) -> list[Run]:
    """Runs in the order of their configs: they end as their concepts have learned enough."""
    places = {str(RunFolder(config).place()): number for number, config in enumerate(configs)}
    return sorted(runs, key=lambda run: places.get(str(run.folder), len(places)))


@dataclass(frozen=True)
class Part:
    """What this process does of a job."""

    configs: Sequence[TrainConfig]  # in their order
    processes: Processes  # those that work on the same concepts
    console: Console
    arrivals: Arrivals | None
    tells: bool  # whether it speaks of what none can do

    @classmethod
    def of(
        cls, configs: Sequence[TrainConfig], processes: Processes, console: Console, arrivals: Arrivals | None
    ) -> Part:
        """Concepts of its own, where there are enough for all processes; otherwise a share of every concept's steps."""
        processes.wait()  # all have checked the folders before one writes into them
        tells = processes.is_main
        if processes.count == 1 or not (arrivals or processes.count <= len(configs)):
            return cls(configs, processes, console if tells else Silence(), arrivals, tells)
        if arrivals:
            arrivals = Share(arrivals, processes.rank, processes.count)
            own = [config for config in configs if arrivals.is_own(config)]
        else:
            own = deal(configs, processes.rank, processes.count)
        return cls(own, processes.alone(), console if tells else console.elsewhere(), arrivals, tells)


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
