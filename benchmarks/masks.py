"""How well masks keep the background out of the rows, with pictures of the bundled world that all show one scene.

    python benchmarks/masks.py [--scene beach] [--creatures my-cat my-bird] [--seeds 0 1] [--set steps=400 crop=subject]

Every creature is learned from five pictures in one scene, once without masks and once with the true masks. Then
pictures are drawn from prompts that ask for other scenes. The table has the share of them in the scene that was asked
for, the share that shows the scene of the training pictures instead, and the shares of the creature's own attributes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sample_data.world.attributes import HELD_OUT, SCENES, held_out_description  # noqa: E402
from sample_data.world.drawing import draw, draw_mask  # noqa: E402
from sample_data.world.references import VIEWS  # noqa: E402
from ti_trainer import ModelConfig, train_all  # noqa: E402
from ti_trainer.config.bundled import JUDGE, TINY_SD  # noqa: E402
from ti_trainer.config.settings import configs_from_mapping  # noqa: E402
from ti_trainer.embedding_files import read_embedding  # noqa: E402
from ti_trainer.families import Family, load_with_embeddings  # noqa: E402
from ti_trainer.reports.evaluation import draw_in_scenes  # noqa: E402
from ti_trainer.reports.judge import IDENTITY, AttributeJudge, attribute_accuracy  # noqa: E402

COLUMNS = ("scene asked for", "scene of training", "attributes", *IDENTITY)


def write_pictures(name: str, scene: str, folder: Path) -> None:
    """Five pictures of a creature in one scene, N.png, and their masks, N.mask.png."""
    folder.mkdir(parents=True)
    for number, (_, size, place) in enumerate(VIEWS):
        where = f"masks {name} {scene} {number}"
        seen = held_out_description(name, scene, random.Random(where))
        seen = replace(seen, size=size, place=place)
        draw(seen, random.Random(where)).save(folder / f"{number}.png")
        draw_mask(seen, random.Random(where)).save(folder / f"{number}.mask.png")


def judge_creature(
    family: Family, judge: AttributeJudge, name: str, called: str, scene: str, count: int, seed: int
) -> dict[str, float]:
    """The figures of `count` pictures, whose prompts ask for scenes; called: the word for the creature in prompts."""
    _, asked, images = draw_in_scenes(family, called, count, seed)
    seen = judge(images)
    others = [(answer, wanted) for answer, wanted in zip(seen, asked, strict=True) if wanted not in (None, scene)]
    truth = dict(zip(IDENTITY, HELD_OUT[name], strict=True))
    return {
        "scene asked for": sum(answer["scene"] == wanted for answer, wanted in others) / len(others),
        "scene of training": sum(answer["scene"] == scene for answer, _ in others) / len(others),
        **{key: value for key, value in attribute_accuracy(seen, [truth], asked).items() if key in COLUMNS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", choices=SCENES, default="beach", help="of all training pictures")
    parser.add_argument("--creatures", nargs="*", choices=HELD_OUT, default=["my-cat", "my-bird"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument(
        "--backgrounds", type=float, nargs="*", default=[1.0, 0.1], help="--mask_background of each row"
    )
    parser.add_argument("--count", type=int, default=48, help="pictures of each creature and seed")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other training settings")
    options = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in options.set)}
    judge = AttributeJudge(JUDGE)

    table = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]

    def show(label: str, figures: list[dict[str, float]]) -> None:
        means = [sum(each[column] for each in figures) / len(figures) for column in COLUMNS]
        table.append(f"| {label} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
        print(table[-1], flush=True)

    untrained = load_with_embeddings(ModelConfig(), [])
    nouns = {name: HELD_OUT[name][0] for name in options.creatures}
    runs = [(seed, name) for seed in options.seeds for name in options.creatures]
    show(
        "init word",
        [judge_creature(untrained, judge, n, nouns[n], options.scene, options.count, seed) for seed, n in runs],
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.creatures:
            write_pictures(name, options.scene, Path(scratch) / "pictures" / name)
        concepts = [{"token": f"<{n}>", "images": f"{scratch}/pictures/{n}"} for n in options.creatures]
        for background in options.backgrounds:
            figures = []
            for seed in options.seeds:
                how = {"model": TINY_SD, "output": f"{scratch}/{background}-{seed}", "seed": seed}
                how["mask_background"] = background
                learned = train_all(configs_from_mapping({**how, **settings, "concepts": concepts}))
                family = load_with_embeddings(ModelConfig(), [read_embedding(run.embedding) for run in learned])
                figures += [
                    judge_creature(family, judge, n, f"<{n}>", options.scene, options.count, seed)
                    for n in options.creatures
                ]
            show(f"background {background:g}" if background < 1 else "no masks", figures)
    print("\n".join(table))


if __name__ == "__main__":
    main()
