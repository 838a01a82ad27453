"""How many attributes of the bundled world's held-out creatures the rows learn.

    python benchmarks/quality.py [--vectors 1 2 4] [--seeds 0 1] [--set steps=400 lr=0.01]
    python benchmarks/quality.py --phrase --only my-cat my-star

Every creature of `HELD_OUT`, or those that `--only` names, is learned from five pictures; with `--phrase` from the true
words "PATTERN COLOUR OBJECT" in place of the object's name. Then 32 pictures are drawn for each seed, and the judge
says in how many of them the attributes (object, colour, pattern, accent) and the scene are right. For comparison, the
table also has the init word without training, and the full description as the prompt ("oracle"). All creatures are
trained together; each learns what it would learn alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sample_data.world.attributes import CREATURES, HELD_OUT  # noqa: E402
from sample_data.world.captions import identity_words  # noqa: E402
from sample_data.world.references import write_references  # noqa: E402
from sample_data.world.report import write_section  # noqa: E402
from ti_trainer import ModelConfig, train_all  # noqa: E402
from ti_trainer.config.bundled import JUDGE, TINY_SD  # noqa: E402
from ti_trainer.config.settings import configs_from_mapping  # noqa: E402
from ti_trainer.embedding_files import read_embedding  # noqa: E402
from ti_trainer.families import Family, load_with_embeddings  # noqa: E402
from ti_trainer.reports.evaluation import draw_in_scenes  # noqa: E402
from ti_trainer.reports.judge import IDENTITY, AttributeJudge, attribute_accuracy  # noqa: E402


def judge_words(family: Family, judge: AttributeJudge, words: dict[str, str], count: int, seed: int) -> dict[str, Any]:
    """The mean figures over the creatures; words: creature -> the word for it in prompts."""
    figures = []
    for name, called in words.items():
        truth = dict(zip(IDENTITY, CREATURES[name], strict=True))
        _, scenes, images = draw_in_scenes(family, called, count, seed)
        figures.append(attribute_accuracy(judge(images), [truth], scenes))
    mean = {key: sum(f[key] for f in figures) / len(figures) for key in figures[0]}
    return {**mean, "worst": min(f["attributes"] for f in figures)}


def rows_of(name: str, start: int | str) -> dict[str, Any]:
    """Where a creature's rows start: "phrase", or so many rows from the object's name, which is in its token."""
    if start != "phrase":
        return {"num_vectors": start}
    thing, colour, pattern, _ = CREATURES[name]
    return {"init": f"{pattern} {colour} {thing}"}


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """The figures as a table; a row may lack columns."""
    columns = ["attributes", *IDENTITY, "scene", "worst", "length"]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for label, row in rows.items():
        cells = [f"{row[column]:.3f}" if column in row else "" for column in columns]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--count", type=int, default=32, help="pictures of each creature and seed")
    parser.add_argument("--model", default=TINY_SD)
    parser.add_argument("--judge", default=JUDGE)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other training settings")
    parser.add_argument("--only", nargs="*", default=list(HELD_OUT), choices=CREATURES, help="which creatures")
    parser.add_argument("--phrase", action="store_true", help="start from the true words; --vectors is not used")
    parser.add_argument("--card", type=Path, help="model card whose section 'inversion' gets the table")
    options = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in options.set)}
    judge = AttributeJudge(options.judge)
    rows: dict[str, dict[str, float]] = {}

    def show(label: str, runs: list[dict[str, Any]]) -> None:
        rows[label] = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}
        print(f"{label:12} " + " ".join(f"{key} {value:.3f}" for key, value in rows[label].items()), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / "pictures" / name for name in options.only}
        for name, folder in folders.items():
            write_references(name, folder.parent)
        untrained = load_with_embeddings(ModelConfig(model=options.model), [])
        nouns = {name: CREATURES[name][0] for name in options.only}
        show("init word", [judge_words(untrained, judge, nouns, options.count, seed) for seed in options.seeds])
        full = {name: identity_words(CREATURES[name]) for name in options.only}
        show("oracle", [judge_words(untrained, judge, full, options.count, seed) for seed in options.seeds])
        for start in ["phrase"] if options.phrase else options.vectors:
            runs = []
            for seed in options.seeds:
                concepts = [
                    {"token": f"<{name}>", "images": str(folder), **rows_of(name, start)}
                    for name, folder in folders.items()
                ]
                where = {"output": f"{scratch}/{start}-{seed}", "model": options.model, "seed": seed}
                started = time.perf_counter()
                learned = train_all(configs_from_mapping({**where, **settings, "concepts": concepts}))
                seconds = time.perf_counter() - started
                family = load_with_embeddings(
                    ModelConfig(model=options.model), [read_embedding(run.embedding) for run in learned]
                )
                tokens = {name: f"<{name}>" for name in folders}
                figures = judge_words(family, judge, tokens, options.count, seed)
                lengths = [run.history[-1]["length_ratio"] for run in learned]
                runs.append({**figures, "length": sum(lengths) / len(lengths), "seconds": seconds})
            show(start if options.phrase else f"{start} vector{'s' * (start > 1)}", runs)
    text = markdown(rows)
    print(text)
    if options.card:
        write_section(options.card, "inversion", text)


if __name__ == "__main__":
    main()
