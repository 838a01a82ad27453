"""Which rows a merged embedding has, what it says of itself, and what cannot be merged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.embeddings import rows
from ti_trainer.embedding_files import Embedding
from ti_trainer.errors import BadInput
from ti_trainer.method.merging import blend, join
from ti_trainer.method.sphere_mean import mean_rows


def embedding(token: str, count: int = 2, seed: int = 0, **metadata: str) -> Embedding:
    told = {key.replace("__", "."): value for key, value in metadata.items()}
    vectors = {"clip_l": rows(count, 768, seed), "clip_g": rows(count, 1280, seed + 100)}
    return Embedding(token, vectors, told, f"folder/{token.strip('<>')}.safetensors")


def test_two_unit_rows_are_interpolated_at_their_angle() -> None:
    """Rows of length 1 and 3 at a right angle, .7 and .3: at 27 degrees and 1.6 long."""
    one, other = torch.zeros(1, 1024), torch.zeros(1, 1024)
    one[0, 0], other[0, 1] = 1.0, 3.0
    mixed = blend([Embedding("<a>", {"clip_h": one}), Embedding("<b>", {"clip_h": other})], [7, 3], "<c>")
    wanted = torch.zeros(1, 1024)
    wanted[0, :2] = 1.6 * torch.tensor([math.cos(0.15 * math.pi), math.sin(0.15 * math.pi)])
    torch.testing.assert_close(mixed.vectors["clip_h"], wanted)


def test_every_slot_is_mixed() -> None:
    parts = [embedding("<a>", seed=1), embedding("<b>", seed=2), embedding("<c>", seed=3)]
    mixed = blend(parts, None, "<new>")
    assert (mixed.token, list(mixed.vectors)) == ("<new>", ["clip_l", "clip_g"])
    for slot, vectors in mixed.vectors.items():
        assert torch.equal(vectors, mean_rows(torch.stack([each.vectors[slot] for each in parts]), torch.ones(3)))


def test_joined_rows_follow_each_other() -> None:
    parts = [embedding("<a>", 2, seed=1), embedding("<b>", 3, seed=2)]
    joined = join(parts, "<new>")
    assert joined.num_vectors == 5
    for slot, vectors in joined.vectors.items():
        assert torch.equal(vectors[:2], parts[0].vectors[slot])
        assert torch.equal(vectors[2:], parts[1].vectors[slot])


def test_what_the_metadata_say() -> None:
    """What all agree on, and where the rows come from; not the settings of one of them."""
    base: dict[str, Any] = {"modelspec__architecture": "stable-diffusion-xl-v1-base/textual-inversion"}
    one = embedding("<a>", ti_trainer__base_model="xl", ti_trainer__step="7", modelspec__title="a", **base)
    other = embedding("<b>", ti_trainer__base_model="xl", ti_trainer__step="7", modelspec__title="b", **base)
    told = blend([one, other], [1, 3], "<c>").metadata
    assert told["modelspec.architecture"] == base["modelspec__architecture"]
    assert told["ti_trainer.base_model"] == "xl"
    assert (told["ti_trainer.token"], told["modelspec.title"], told["ti_trainer.merge"]) == ("<c>", "c", "mean")
    assert "ti_trainer.step" not in told
    parts = json.loads(told["ti_trainer.merged"])
    assert [(part["token"], part["file"], part["vectors"], part["weight"]) for part in parts] == [
        ("<a>", "a.safetensors", 2, 0.25),
        ("<b>", "b.safetensors", 2, 0.75),
    ]
    joined = join([one, other], "<c>").metadata
    assert joined["ti_trainer.merge"] == "join"
    assert "weight" not in json.loads(joined["ti_trainer.merged"])[0]


def test_a_merged_embedding_is_negative_where_all_are() -> None:
    bad, worse = (embedding(token, modelspec__is_negative_embedding="true") for token in ("<bad>", "<worse>"))
    good = embedding("<good>", modelspec__is_negative_embedding="false")
    merged = join([bad, worse], "<worst>")
    assert merged.is_negative
    assert "in the negative prompt" in merged.metadata["modelspec.usage_hint"]
    assert not join([bad, good], "<mixed>").is_negative


SD1 = Embedding("<a>", {"clip_l": rows()}, {"modelspec.architecture": "stable-diffusion-v1/textual-inversion"})
FLUX = Embedding("<f>", {"clip_l": rows()}, {"modelspec.architecture": "flux-1-dev/textual-inversion"})


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        (lambda: blend([SD1, embedding("<b>")], None, "<c>"), r"<a> has .* \(SD 1.x\), and <b> for .*one model family"),
        (lambda: join([SD1, FLUX], "<c>"), r"\(SD 1.x\), and <f> for clip_l 768 wide \(Flux\)"),
        (
            lambda: blend([embedding("<a>"), embedding("<b>", 3)], None, "<c>"),
            "<a> has 2, <b> has 3: choose others, or join=True",
        ),
        (lambda: blend([SD1, SD1], [1.0], "<c>"), "weights are 1 numbers for 2 embeddings; give one for each"),
        (lambda: blend([SD1, SD1], [2.0, -1.0], "<c>"), 'mixed with weights="2 -1": weights have to be 0 or more'),
        (lambda: join([embedding("<a>", 40), embedding("<b>", 40)], "<c>"), "80 vectors, and a prompt has room for 75"),
    ],
)
def test_refusals(merge: Callable[[], Embedding], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        merge()
