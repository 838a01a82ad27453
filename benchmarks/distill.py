"""How well a few rows stand in for a long list of tags, on the bundled model.

    python benchmarks/distill.py [--only my-dog my-boat] [--seeds 0 1] [--count 12] [--init OBJECT]

The text of a creature has 40 tags: its identity ("striped red boat with a green sail"), then 39 others that say
nothing of it, in an order drawn by a seed. Together they are longer than a window of 77 tokens. Pictures are drawn in
every scene with the whole text, with the words from which the rows start, and with the rows; the judge says in how many
of them the attributes (object, colour, pattern, accent) and the scene are right. `--init OBJECT` starts all rows from
the object's name in place of the text's words.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sample_data.world.attributes import CREATURES  # noqa: E402
from sample_data.world.captions import identity_words  # noqa: E402
from ti_trainer import Concept, ModelConfig, TrainConfig  # noqa: E402
from ti_trainer.commands.distill import OWN  # noqa: E402
from ti_trainer.config.bundled import JUDGE  # noqa: E402
from ti_trainer.families import load_with_embeddings  # noqa: E402
from ti_trainer.reports.evaluation import draw_in_scenes  # noqa: E402
from ti_trainer.reports.judge import IDENTITY, AttributeJudge, attribute_accuracy  # noqa: E402
from ti_trainer.training.distillation import distill  # noqa: E402

OTHERS = (
    "photo, picture, good, nice, clean, cool, bright, image, rendition, illustration, depiction, close-up, cropped, "
    "rendering, drawing, painting, large, big, in the centre, in the middle, this, one, my, the, detailed, best "
    "quality, sharp, good photo, nice picture, clean image, cool rendition, bright photo, weird, good picture, nice "
    "photo, cool photo, clean photo, good image, nice drawing"
)


def tags_of(name: str) -> str:
    """The 40 tags of a creature."""
    others = random.Random(name).sample(OTHERS.split(", "), 39)
    return ", ".join([identity_words(CREATURES[name]), *others])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["my-dog", "my-boat", "my-mushroom"], choices=CREATURES)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--count", type=int, default=12, help="pictures of each creature, seed and prompt")
    parser.add_argument("--init", choices=("auto", "OBJECT"), default="auto")
    parser.add_argument("--steps", type=int, default=OWN["steps"][0])
    parser.add_argument("--denoiser_steps", type=int, default=0)
    options = parser.parse_args()
    judge = AttributeJudge(JUDGE)
    how = {name: OWN[name][0] for name in ("lr", "lr_schedule", "optimizer")} | {"steps": options.steps}
    print("| creature, seed | the whole text | the start | 8 rows | scene: text | start | rows | start from | s |")
    print("|---" * 9 + "|")
    kept: list[dict[str, dict[str, float]]] = []
    for name in options.only:
        truth = dict(zip(IDENTITY, CREATURES[name], strict=True))
        text = tags_of(name)
        init = CREATURES[name][0] if options.init == "OBJECT" else "auto"
        for seed in options.seeds:
            concept = Concept("<text>", num_vectors=8, init=init)
            config = TrainConfig(concept, long_captions="chunk", seed=seed, **how)
            found = distill(config, text, options.denoiser_steps)
            family = load_with_embeddings(ModelConfig(long_captions="chunk"), [found.embedding])
            figures = {}
            for words in (text, found.init, "<text>"):
                _, scenes, images = draw_in_scenes(family, words, options.count, seed)
                figures[words] = attribute_accuracy(judge(images), [truth], scenes)
            whole, start, rows = figures.values()
            kept.append({"whole": whole, "start": start, "rows": rows})
            cells = [f"{each[key]:.3f}" for key in ("attributes", "scene") for each in (whole, start, rows)]
            print(f"| {name}, {seed} | {' | '.join(cells)} | {found.init} | {found.seconds:.0f} |", flush=True)
    cells = [
        f"**{sum(each[kind][key] for each in kept) / len(kept):.3f}**"
        for key in ("attributes", "scene")
        for kind in ("whole", "start", "rows")
    ]
    print(f"| **mean of {len(kept)}** | {' | '.join(cells)} | | |")


if __name__ == "__main__":
    main()
