"""How early a CLIP names the words of creatures of the bundled world, among the words that the model knows.

    python benchmarks/shortlist.py [--clip tiny-clip] [--others 3 4 5]

The nine held-out creatures, and for each seed twelve others, one of each object; five pictures of each. Counted is for
how many the object, the colour, the pattern, the colour of the part, and all of the first three, are among the first 8,
12, 16 and 24 words: best first by score alone, and with names and describing words in turn (`shortlist`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from suggest import draw_others, write_pictures  # noqa: E402

from sample_data.world.attributes import HELD_OUT  # noqa: E402
from sample_data.world.references import write_references  # noqa: E402
from ti_trainer import Concept, TrainConfig  # noqa: E402
from ti_trainer.data.images import read_image  # noqa: E402
from ti_trainer.data.sources.folders import find_pictures  # noqa: E402
from ti_trainer.families import load_family  # noqa: E402
from ti_trainer.method.word_list import DESCRIBING_WORDS, candidate_words  # noqa: E402
from ti_trainer.reports.scorers import ClipScorer  # noqa: E402
from ti_trainer.reports.word_scores import score_words, shortlist  # noqa: E402

LENGTHS = (8, 12, 16, 24)
KINDS = ("object", "colour", "pattern", "part", "first three")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="tiny-clip")
    parser.add_argument("--others", type=int, nargs="*", default=[3, 4, 5], help="seeds of the others")
    options = parser.parse_args()
    family = load_family(TrainConfig(Concept("<words>")), torch.device("cpu"), torch.float32)
    words = candidate_words(family.slots[0])
    scorer = ClipScorer(options.clip)
    places: dict[str, list[list[int]]] = {"by score": [], "names and looks in turn": []}
    with tempfile.TemporaryDirectory() as scratch:
        for group, creatures in {"held-out": HELD_OUT, **{seed: draw_others(seed) for seed in options.others}}.items():
            for name, identity in creatures.items():
                folder = Path(scratch) / str(group) / name
                if group == "held-out":
                    write_references(name, folder.parent)
                else:
                    write_pictures(identity, int(group), folder)
                images = [read_image(each.picture) for each in find_pictures(str(folder)).found]
                ranked = score_words(scorer, images, words)
                orders = [[word for word, _ in ranked], shortlist(ranked, len(words), DESCRIBING_WORDS)]
                for found, order in zip(places.values(), orders, strict=True):
                    found.append([order.index(word) for word in identity])
    print(f"{len(words)} words, {len(places['by score'])} creatures")
    print(f"| among the first | {' | '.join(KINDS)} |\n|---|{'---|' * len(KINDS)}")
    for how, found in places.items():
        for length in LENGTHS:
            hits = [[place < length for place in own] for own in found]
            shares = [*(sum(column) / len(hits) for column in zip(*hits, strict=True))]
            shares.append(sum(all(own[:3]) for own in hits) / len(hits))
            print(f"| {length}, {how} | {' | '.join(f'{share:.2f}' for share in shares)} |")


if __name__ == "__main__":
    main()
