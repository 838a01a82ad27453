"""What single ideas bring to rows that start from one word, on the bundled model: each in the place of what is there.

    python benchmarks/ideas.py [--ideas NAME ...] [--rows 2] [--creatures 11] [--kept FILE]

All take 1,600 passes, from the name of the object, without a search; "base" is the trainer as it is. An idea that the
trainer has no setting for takes the place of a function of it for the time of its run (`unittest.mock`). The judge says
what pictures show of the attributes; the fixed-noise loss is of the same pictures, words and noise for all.

Creatures are some of the twelve of `suggest.py --others SEED`; those of seed 11 are there to choose settings on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from changes import (  # noqa: E402
    Directional,
    FullCovariance,
    antithetic,
    context_term,
    cross_initialization,
    first_try_masks,
    importance_sampling,
    late_average,
    moved_by,
    noun_beside,
    scenes_and_masks,
    scenes_named,
    seen_by,
)
from quality import Kept, judged, markdown, mean_of  # noqa: E402
from suggest import Identity, draw_others, write_pictures  # noqa: E402

from ti_trainer import ModelConfig, train_all  # noqa: E402
from ti_trainer.config.bundled import JUDGE, TINY_SD  # noqa: E402
from ti_trainer.config.settings import configs_from_mapping  # noqa: E402
from ti_trainer.data.batches import stack_draws  # noqa: E402
from ti_trainer.embedding_files import read_embedding  # noqa: E402
from ti_trainer.families import Family, load_with_embeddings  # noqa: E402
from ti_trainer.method.weightings import uniform  # noqa: E402
from ti_trainer.reports.judge import AttributeJudge  # noqa: E402
from ti_trainer.training.objective import denoising_losses  # noqa: E402
from ti_trainer.training.word_losses import WordLosses  # noqa: E402

# 1,600 passes; lr as found for rows from a word.
BASE = {"steps": 200, "batch_size": 8, "lr": 0.34, "validate_every": 0, "early_stop": 0, "plots": False}
JUDGED_BY = 200  # draws of the fixed-noise loss
SIX = ("my-cat", "my-bird", "my-car", "my-flower", "my-house", "my-star")
COLUMNS = ("attributes", "object", "colour", "pattern", "accent", "scene", "worst", "loss")


@dataclass(frozen=True)
class Idea:
    """What is done in another way."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    # Settings of one creature, of its identity and the folder of its pictures, beside which it may write.
    own: Callable[[Identity, Path], dict[str, Any]] = lambda identity, folder: {}
    change: Callable[[], AbstractContextManager[Any]] = nullcontext  # of the trainer, while it runs
    starts: int = 1  # so many, in half of the passes, of which the one with the least loss goes on in the other


IDEAS: dict[str, Idea] = {
    "base": Idea(),
    "batch 2": Idea({"batch_size": 2, "steps": 800}),
    "batch 4": Idea({"batch_size": 4, "steps": 400}),
    "batch 16": Idea({"batch_size": 16, "steps": 100}),
    "batch 32": Idea({"batch_size": 32, "steps": 50}),
    "rate .2": Idea({"lr": 0.2}),
    "rate .6": Idea({"lr": 0.6}),
    "batch 4, rate .2": Idea({"batch_size": 4, "steps": 400, "lr": 0.2}),
    "batch 4, rate .6": Idea({"batch_size": 4, "steps": 400, "lr": 0.6}),
    "debiased": Idea({"weighting": "debiased"}),
    "min-SNR": Idea({"weighting": "min_snr"}),
    "noise .3 to .8": Idea({"timesteps": "range:0.3-0.8"}),
    "pull .1": Idea({"optimizer": "sphere:rho=0.1"}),
    "pull .3": Idea({"optimizer": "sphere:rho=0.3"}),
    "token alone, .1": Idea({"caption_dropout": 0.1}),
    "noun beside it": Idea(own=noun_beside),
    "scenes in captions": Idea(own=scenes_named),
    "masks of the model": Idea({"masks": "model", "steps": 195}),  # 40 passes go into the masks of five pictures
    "first-try mask": Idea(own=first_try_masks),
    "first-try mask, scenes in captions": Idea(own=scenes_and_masks),
    "antithetic noise": Idea(change=antithetic),
    "Cross-Initialization": Idea(change=cross_initialization),
    "context term": Idea(change=context_term),
    "importance sampling": Idea(change=importance_sampling),
    "full covariance": Idea(change=moved_by(FullCovariance)),
    "Directional TI": Idea({"lr": 0.04, "lr_schedule": "constant"}, change=moved_by(Directional)),
    "Directional TI, cosine": Idea({"lr": 0.04}, change=moved_by(Directional)),
    "constant rate": Idea({"lr_schedule": "constant", "lr": 0.17}),
    "constant rate, late average": Idea({"lr_schedule": "constant", "lr": 0.17}, change=late_average),
    "AdamW, 4e-3": Idea({"optimizer": "adamw", "lr": 4e-3, "lr_schedule": "constant", "weight_decay": 0.01}),
    "AdamW, 3e-4, warm-up": Idea({"optimizer": "adamw", "lr": 3e-4, "lr_schedule": "constant", "warmup_steps": 20}),
    "four starts": Idea(starts=4),
}


def learn(
    idea: Idea, truths: dict[str, Identity], folders: dict[str, Path], rows: int, seed: int, where: Path
) -> dict[str, Path]:
    """The embedding of each creature."""
    settings = {**BASE, **idea.settings, "model": TINY_SD, "seed": seed}
    owns = {
        name: {
            "images": str(folders[name]),
            "init": identity[0],
            "num_vectors": rows,
            **idea.own(identity, folders[name]),
        }
        for name, identity in truths.items()
    }
    with idea.change():
        if idea.starts > 1:
            steps = settings["steps"] // 2
            first = {**settings, "steps": steps // idea.starts, "validate_every": steps}
            tried: dict[str, list[Any]] = {}
            for start in range(idea.starts):
                again = {**first, "seed": seed + 1000 * start, "output": str(where / f"start-{start}")}
                for name, run in zip(truths, train(again, owns), strict=True):
                    tried.setdefault(name, []).append(run)
            settings["steps"] = steps
            for name, runs in tried.items():
                best = min(runs, key=lambda run: run.history[-1]["validation_loss"])
                owns[name]["init"] = f"file:{best.embedding}"
        found = train({**settings, "output": str(where / "runs")}, owns)
    return {name: run.embedding for name, run in zip(truths, found, strict=True)}


def train(settings: Mapping[str, Any], owns: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    concepts = [{"token": f"<{name}>", **own} for name, own in owns.items()]
    return train_all(configs_from_mapping({**settings, "concepts": concepts}))


@torch.no_grad()
def fixed_noise_loss(family: Family, folder: Path, token: str) -> float:
    """The loss of "a photo of a TOKEN" on JUDGED_BY draws, at all levels of noise; family: which knows the token."""
    losses = WordLosses(family, seen_by(folder)[1], 1, levels=(0.0, 1.0))
    draws = [replace(losses.draw(i), caption=f"a photo of a {token}", owner=token) for i in range(JUDGED_BY)]
    return denoising_losses(family, stack_draws(draws), uniform).mean().item()


def figures(
    idea: Idea, truths: dict[str, Identity], judge: AttributeJudge, options: argparse.Namespace, seed: int
) -> dict[str, dict[str, float]]:
    """What each creature's rows have come to."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / "pictures" / name for name in truths}
        plain = {name: Path(scratch) / "plain" / name for name in truths}  # without what the idea writes there
        for name, identity in truths.items():
            for folder in (folders[name], plain[name]):
                write_pictures(identity, options.creatures, folder)
        files = learn(idea, truths, folders, options.rows, seed, Path(scratch) / "out")
        family = load_with_embeddings(ModelConfig(model=TINY_SD), [read_embedding(path) for path in files.values()])
        words = {name: f"<{name}>" for name in truths}
        found = judged(family, judge, words, truths, options.count, seed)
        return {name: {**found[name], "loss": fixed_noise_loss(family, plain[name], words[name])} for name in truths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ideas", nargs="*", default=list(IDEAS), choices=IDEAS, metavar="NAME", help=", ".join(IDEAS))
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--creatures", type=int, default=11, help="the seed that draws them")
    parser.add_argument("--only", nargs="*", default=SIX)
    parser.add_argument("--count", type=int, default=12, help="pictures of each")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--kept", type=Path, metavar="FILE", help="add figures to this file, and use those in it")
    options = parser.parse_args()
    truths = {f"my-{name}": identity for name, identity in draw_others(options.creatures).items()}
    truths = {name: truths[name] for name in options.only}
    kept = Kept(options.kept, f"{options.rows} rows, {options.creatures}, {options.count}, {' '.join(options.only)}")
    judge = AttributeJudge(JUDGE)
    table = {}
    for idea in options.ideas:
        of_seeds = [
            kept.get(idea, seed, partial(figures, IDEAS[idea], truths, judge, options, seed)) for seed in options.seeds
        ]
        table[idea] = mean_of([each for one in of_seeds for each in one.values()])
        print(markdown({idea: table[idea]}, COLUMNS), flush=True)
    print(markdown(table, COLUMNS))


if __name__ == "__main__":
    main()
