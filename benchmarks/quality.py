"""How many attributes of the bundled world's creatures the rows learn, and what that takes.

    python benchmarks/quality.py [--arms defaults plain] [--creatures held-out] [--seeds 0 1]
    python benchmarks/quality.py --arms word4 --set steps=200 lr=0.3
    python benchmarks/quality.py --arms defaults plain --scene snow --seeds 0
    python benchmarks/quality.py --references 1 --seeds 0
    python benchmarks/quality.py --recolour --seeds 0
    python benchmarks/quality.py --creatures 2026 --card sample_data/README.md
    python benchmarks/quality.py --set model=build/world/tiny-flow

Creatures are the nine held-out ones, or twelve others, one of each object, that a seed draws; `--only` takes some of
them. Each is learned from five pictures, or fewer, in five scenes or one, and then drawn in every scene; the judge says
in how many pictures the attributes (object, colour, pattern, accent) and the scene are right. For comparison the table
also has the object's name without training, and the full description as prompt ("oracle"). All creatures are trained
together; each learns what it would learn alone.

Passes are of a picture through the U-Net, forward and backward; one without a backward pass (search, fixed-noise loss)
counts a half. Differences to the plain arm are of the same creature and seed, with a 95 % interval. `--kept FILE` adds
the figures to a file as JSON lines, and takes from it what is there: processes may share the arms and seeds of a table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from suggest import Identity, draw_others, write_pictures  # noqa: E402

from sample_data.world.attributes import COLOURS, HELD_OUT, SCENES  # noqa: E402
from sample_data.world.captions import identity_words  # noqa: E402
from sample_data.world.references import VIEWS, write_references  # noqa: E402
from sample_data.world.report import write_section  # noqa: E402
from ti_trainer import Concept, ModelConfig, TrainConfig, train_all  # noqa: E402
from ti_trainer.config.bundled import JUDGE, TINY_SD  # noqa: E402
from ti_trainer.config.settings import configs_from_mapping  # noqa: E402
from ti_trainer.embedding_files import read_embedding  # noqa: E402
from ti_trainer.families import Family, load_with_embeddings  # noqa: E402
from ti_trainer.method.bootstrap import mean_intervals  # noqa: E402
from ti_trainer.reports.evaluation import draw_in_scenes  # noqa: E402
from ti_trainer.reports.judge import IDENTITY, AttributeJudge, attribute_accuracy  # noqa: E402
from ti_trainer.reports.plots import as_png, new_figure  # noqa: E402
from ti_trainer.training.model_masks import DRAWS  # noqa: E402
from ti_trainer.training.suggestion import PASSES, suggest  # noqa: E402

# Plain Textual Inversion as diffusers' script has it: AdamW 5e-4 x batch 8, weight decay 1e-2, 12,000 passes.
PLAIN = {
    "optimizer": "adamw",
    "lr": 4e-3,
    "lr_schedule": "constant",
    "weight_decay": 1e-2,
    "steps": 1500,
    "validate_every": 20,
    "early_stop": 0,
}
# How rows start, of an identity; None: as the pictures say. And settings.
ARMS: dict[str, tuple[Callable[[Identity], dict[str, Any]] | None, dict[str, Any]]] = {
    "defaults": (None, {}),
    "phrase": (lambda identity: {"init": "{2} {1} {0}".format(*identity)}, {}),
    "word1": (lambda identity: {"init": identity[0], "num_vectors": 1}, {}),
    "word2": (lambda identity: {"init": identity[0], "num_vectors": 2}, {}),
    "word4": (lambda identity: {"init": identity[0], "num_vectors": 4}, {}),
    "plain": (lambda identity: {"init": identity[0], "num_vectors": 1}, PLAIN),
    "plain4": (lambda identity: {"init": identity[0], "num_vectors": 4}, PLAIN),
}
COLUMNS = ("attributes", *IDENTITY, "scene", "worst", "length", "passes", "seconds")
RECOLOURED = ("recoloured", "its colour")  # attributes with the colour that was asked for, and that colour alone
FORMATS = {"passes": ",.0f", "seconds": ",.0f", "loss": ".5f"}


def judged(
    family: Family, judge: AttributeJudge, words: dict[str, str], truths: dict[str, Identity], count: int, seed: int
) -> dict[str, dict[str, float]]:
    """The figures of each creature; words: creature -> the word for it in prompts."""
    figures = {}
    for name, called in words.items():
        truth = dict(zip(IDENTITY, truths[name], strict=True))
        _, scenes, images = draw_in_scenes(family, called, count, seed)
        figures[name] = attribute_accuracy(judge(images), [truth], scenes)
    return figures


def learn(
    arm: str, truths: dict[str, Identity], folders: dict[str, Path], seed: int, changes: dict[str, Any], where: Path
) -> tuple[list[Any], dict[str, dict[str, float]]]:
    """The runs of an arm, and what each creature took."""
    start, settings = ARMS[arm]
    model = changes.get("model", TINY_SD)
    settings = {**settings, **changes, "model": model, "seed": seed, "output": str(where), "plots": False}
    started = time.perf_counter()
    costs: dict[str, dict[str, float]] = {name: {"passes": 0.0} for name in truths}
    concepts = []
    for name, identity in truths.items():
        own: dict[str, Any] = {"token": f"<{name}>", "images": str(folders[name])}
        if start:
            own |= start(identity)
        else:  # what `init: auto` does, so that its passes are known
            asked = TrainConfig(Concept(own["token"], images=own["images"]), model=model, seed=seed)
            found = suggest(asked, None, PASSES)
            own |= {"init": found.phrase.subject, "scene": found.phrase.scene}
            costs[name]["passes"] += found.passes / 2
        concepts.append(own)
    configs = configs_from_mapping({**settings, "concepts": concepts})
    runs = train_all(configs)
    seconds = (time.perf_counter() - started) / len(truths)
    for name, config, run in zip(truths, configs, runs, strict=True):
        measured = sum("validation_loss" in line for line in run.history) + bool(config.validate_every)
        steps = run.history[-1]["step"]
        costs[name]["passes"] += steps * config.batch_size + measured * config.validation_samples / 2
        if config.concept.masks == "model":  # two forward passes for each draw of each picture
            costs[name]["passes"] += len(list(folders[name].glob("*.png"))) * DRAWS
        costs[name]["seconds"] = seconds
        costs[name]["length"] = run.history[-1]["length_ratio"]
    return runs, costs


def recoloured(identity: Identity) -> Identity:
    """The same in the next colour of the world that neither it nor its part has."""
    thing, colour, pattern, accent = identity
    colours = [each for each in COLOURS if each != accent]
    return thing, colours[(colours.index(colour) + 1) % len(colours)], pattern, accent


class Kept:
    """The figures of every arm, seed and creature, in a file if there is one."""

    def __init__(self, file: Path | None, task: str) -> None:
        """task: which creatures and settings these are; lines of other tasks are left alone."""
        self.file = file
        self.task = task
        self.lines: dict[str, dict[str, dict[str, float]]] = {}
        for line in file.read_text().splitlines() if file and file.exists() else ():
            record = json.loads(line)
            if record["task"] == task:
                self.lines[record["name"]] = record["figures"]

    def get(
        self, label: str, seed: int, make: Callable[[], dict[str, dict[str, float]]]
    ) -> dict[str, dict[str, float]]:
        """What is kept of an arm and seed, creature -> figures, or else what `make` makes."""
        name = f"{label}, seed {seed}"
        if name not in self.lines:
            self.lines[name] = make()
            if self.file:
                with self.file.open("a") as file:
                    file.write(json.dumps({"task": self.task, "name": name, "figures": self.lines[name]}) + "\n")
            print(name, {name: round(each["attributes"], 3) for name, each in self.lines[name].items()}, flush=True)
        return self.lines[name]


def mean_of(figures: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every figure, and the worst attributes of one creature and seed."""
    mean = {key: sum(each[key] for each in figures) / len(figures) for key in figures[0]}
    return {**mean, "worst": min(each["attributes"] for each in figures)}


def markdown(rows: dict[str, dict[str, float]], columns: Sequence[str] = COLUMNS) -> str:
    """The figures as a table; a row may lack columns."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for label, row in rows.items():
        cells = [shown(row[column], column) if column in row else "" for column in columns]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def shown(value: float, column: str) -> str:
    return f"{value:{FORMATS.get(column, '.3f')}}"


def plot(results: dict[str, list[dict[str, float]]], file: Path) -> None:
    """What is kept of prompt and creature: each creature and seed a small point, each arm's mean a large one."""
    figure = new_figure(8, 5)
    axes = figure.subplots()
    for number, (arm, figures) in enumerate(results.items()):
        mean = mean_of(figures)
        passes = f", {mean['passes']:,.0f} passes" if "passes" in mean else ""
        for each in figures:
            axes.plot(each["scene"], each["attributes"], ".", color=f"C{number}", alpha=0.3)
        size = 16 - 3 * number  # so that none hides another
        axes.plot(mean["scene"], mean["attributes"], "o", color=f"C{number}", markersize=size, label=arm + passes)
    axes.set(xlabel="scene asked for is in the picture", ylabel="attributes of the creature are in the picture")
    axes.legend(loc="center left")
    file.write_bytes(as_png(figure))


def against_plain(results: dict[str, list[dict[str, float]]]) -> list[str]:
    """A line for each arm: by how much it is better than "plain", creature by creature and seed by seed."""
    lines = []
    for arm, figures in results.items():
        if arm == "plain":
            continue
        for key in ("attributes", "scene"):
            pairs = zip(figures, results["plain"], strict=True)
            differences = torch.tensor([[own[key] - other[key]] for own, other in pairs], dtype=torch.float64)
            low, high = (end.item() for end in mean_intervals(differences, seed=0))
            lines.append(f"{arm} - plain, {key}: {differences.mean():+.3f} ({low:+.3f} to {high:+.3f})")
    return lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", default=["defaults"], choices=ARMS)
    parser.add_argument("--creatures", default="held-out", help="held-out, or the seed of twelve others")
    parser.add_argument("--only", nargs="*", help="some of the creatures: my-cat ...")
    parser.add_argument("--references", type=int, default=len(VIEWS), help="pictures that a creature is learned from")
    parser.add_argument("--scene", choices=SCENES, help="of all these pictures (default: each has another)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--count", type=int, default=32, help="pictures of each creature and seed")
    parser.add_argument("--recolour", action="store_true", help="also ask for each in another colour: a blue <my-cat>")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other training settings")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="add figures to this file, and use those in it")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw what is kept of the prompt and of the creature")
    parser.add_argument("--card", type=Path, help="model card whose section 'inversion' gets the table")
    return parser.parse_args()


def main() -> None:
    options = parse()
    changes = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in options.set)}
    drawn = options.creatures != "held-out"
    others = {f"my-{name}": each for name, each in draw_others(int(options.creatures)).items()} if drawn else {}
    truths: dict[str, Identity] = {
        name: each for name, each in (others or HELD_OUT).items() if not options.only or name in options.only
    }
    judge = AttributeJudge(JUDGE)
    model = ModelConfig(model=changes.get("model", TINY_SD))
    untrained = load_with_embeddings(model, [])
    words = {
        "object's name": {name: identity[0] for name, identity in truths.items()},
        "oracle": {name: identity_words(identity) for name, identity in truths.items()},
    }
    results: dict[str, list[dict[str, float]]] = {}
    columns = COLUMNS + RECOLOURED if options.recolour else COLUMNS
    task = (options.creatures, options.only, options.references, options.scene, options.count, changes)
    kept = Kept(options.kept, json.dumps(task))
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / "pictures" / name for name in truths}
        for name, folder in folders.items():
            if drawn:
                write_pictures(truths[name], int(options.creatures), folder, options.references, options.scene)
            else:
                write_references(name, folder.parent, options.references, options.scene)

        def figures_of(family: Family, called: dict[str, str], seed: int) -> dict[str, dict[str, float]]:
            figures = judged(family, judge, called, truths, options.count, seed)
            if options.recolour:
                others = {name: recoloured(truth) for name, truth in truths.items()}
                asked = {name: f"{others[name][1]} {word}" for name, word in called.items()}
                for name, each in judged(family, judge, asked, others, options.count, seed).items():
                    figures[name] |= {"recoloured": each["attributes"], "its colour": each["colour"]}
            return figures

        def untrained_figures(label: str, seed: int) -> dict[str, dict[str, float]]:
            return figures_of(untrained, words[label], seed)

        def learned_figures(arm: str, seed: int) -> dict[str, dict[str, float]]:
            runs, costs = learn(arm, truths, folders, seed, changes, Path(scratch) / f"{arm}-{seed}")
            family = load_with_embeddings(model, [read_embedding(run.embedding) for run in runs])
            called = {name: f"<{name}>" for name in truths}
            figures = figures_of(family, called, seed)
            return {name: {**figures[name], **costs[name]} for name in truths}

        for label in (*words, *options.arms):
            make = untrained_figures if label in words else learned_figures
            of_seeds = [kept.get(label, seed, partial(make, label, seed)) for seed in options.seeds]
            results[label] = [figures for each in of_seeds for figures in each.values()]
            print(markdown({label: mean_of(results[label])}, columns), flush=True)
    text = markdown({label: mean_of(figures) for label, figures in results.items()}, columns)
    print(text)
    if "plain" in results:
        print("\n".join(against_plain({arm: results[arm] for arm in options.arms})))
    if options.plot:
        plot(results, options.plot)
    if options.card:
        write_section(options.card, "inversion", text)


if __name__ == "__main__":
    main()
