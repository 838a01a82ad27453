import math
from pathlib import Path

import pytest
import torch

from ti_trainer.data.batches import Batch, ConceptData, draw_batch, join_batches
from ti_trainer.data.examples import Example
from ti_trainer.data.images import Picture
from ti_trainer.data.latents import LatentPosterior

SIZE = 8  # of a batch
SHAPE = (4, 2, 2)


def concept(token: str = "<cat>", pictures: int = 3, flip: bool = False) -> ConceptData:
    """Posterior i has the mean i and the deviation 100 + i; picture i has the captions "i.0 <cat>" to "i.3 <cat>"."""
    count = pictures * (2 if flip else 1)
    numbers = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    captions = [tuple(f"{i}.{j} {{token}}" for j in range(4)) for i in range(pictures)]
    examples = [Example(Picture.at(Path(f"{i}.png")), captions[i], (64, 64)) for i in range(pictures)]
    return ConceptData(token, examples, LatentPosterior(numbers, numbers + 100), 64)


def rows_of(batch: Batch) -> list[tuple]:
    """Everything about each example, comparable to the bit."""
    parts = (batch.posterior.mean, batch.posterior.std, batch.posterior_noise, batch.noise, batch.timestep_draws)
    return [(caption, *(part[i].numpy().tobytes() for part in parts)) for i, caption in enumerate(batch.captions)]


def numbers_of(batch: Batch) -> list[int]:
    return batch.posterior.mean[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize(
    "split",
    [
        [range(0, SIZE, 2), range(1, SIZE, 2)],
        [[i] for i in range(SIZE)],
        [range(SIZE - 1, -1, -1)],
        [[0, 1, 2], [7, 3, 4, 5, 6]],
    ],
    ids=["two processes", "one by one", "backwards", "unequal parts"],
)
def test_an_example_is_the_same_whoever_is_beside_it(split: list) -> None:
    data = concept(flip=True)
    whole = rows_of(draw_batch(data, 0, 5, range(SIZE), SIZE))
    for part in split:
        assert rows_of(draw_batch(data, 0, 5, part, SIZE)) == [whole[i] for i in part]


def test_global_generator_neither_matters_nor_changes() -> None:
    torch.manual_seed(1)
    first = rows_of(draw_batch(concept(), 0, 5, range(SIZE), SIZE))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert rows_of(draw_batch(concept(), 0, 5, range(SIZE), SIZE)) == first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("change", [{"step": 6}, {"seed": 1}, {"token": "<dog>"}])
def test_other_steps_seeds_and_concepts_draw_anew(change: dict) -> None:
    place = {"seed": 0, "step": 5, "token": "<cat>"}

    def draw(seed: int, step: int, token: str) -> Batch:
        return draw_batch(concept(token), seed, step, range(SIZE), SIZE)

    first, other = draw(**place), draw(**{**place, **change})
    noises = torch.cat([first.noise, first.posterior_noise, other.noise, other.posterior_noise])  # (4B, c, h, w)
    assert len(torch.unique(noises, dim=0)) == 4 * SIZE
    assert not set(first.timestep_draws.tolist()) & set(other.timestep_draws.tolist())
    assert first.captions != other.captions


def test_concepts_in_one_batch_see_what_they_see_alone() -> None:
    parts = [draw_batch(concept(token), 0, 3, range(4), 4) for token in ("<cat>", "<dog>")]
    assert rows_of(join_batches(parts)) == rows_of(parts[0]) + rows_of(parts[1])


def test_timesteps_lie_in_their_parts() -> None:
    """Index i draws from the i-th of SIZE equal parts, evenly over the steps."""
    draws = torch.stack([draw_batch(concept(), 0, step, range(SIZE), SIZE).timestep_draws for step in range(300)])
    within = draws * SIZE - torch.arange(SIZE)  # (steps, B)
    assert (within >= 0).all()
    assert (within < 1).all()
    deviation = 1 / math.sqrt(12 * within.numel())
    assert abs(within.mean() - 0.5) < 4.5 * deviation
    assert within.min() < 0.01
    assert within.max() > 0.99
    (alone,) = draw_batch(concept(), 0, 0, [5], 6).timestep_draws
    assert 5 / 6 <= alone < 1


def test_noise_is_standard_normal_and_the_two_are_independent() -> None:
    batches = [draw_batch(concept(), 0, step, range(SIZE), SIZE) for step in range(60)]
    noise = torch.cat([batch.noise for batch in batches]).flatten()
    posterior_noise = torch.cat([batch.posterior_noise for batch in batches]).flatten()
    count = len(noise)
    for values in (noise, posterior_noise):
        assert abs(values.mean()) < 4.5 / count**0.5
        assert abs(values.square().mean() - 1) < 4.5 * (2 / count) ** 0.5
    assert abs((noise * posterior_noise).mean()) < 4.5 / count**0.5


@pytest.mark.parametrize("flip", [False, True])
def test_every_picture_and_caption_has_its_turn(flip: bool) -> None:
    data = concept(flip=flip)
    batches = [draw_batch(data, 0, step, range(SIZE), SIZE) for step in range(150)]
    numbers = torch.tensor([number for batch in batches for number in numbers_of(batch)])
    expected = len(numbers) / len(data.posteriors.mean)
    counts = numbers.bincount(minlength=len(data.posteriors.mean))
    assert len(counts) == (6 if flip else 3)
    assert (counts - expected).abs().max() < 4.5 * expected**0.5
    captions = [caption for batch in batches for caption in batch.captions]
    assert set(captions) == {f"{i}.{j} <cat>" for i in range(3) for j in range(4)}


def test_captions_belong_to_their_pictures_mirrored_or_not() -> None:
    """Posterior 3 of 6 is picture 0 mirrored: it has picture 0's captions. Mean and deviation stay together."""
    mirrored = 0
    for step in range(40):
        batch = draw_batch(concept(flip=True), 0, step, range(SIZE), SIZE)
        assert torch.equal(batch.posterior.std, batch.posterior.mean + 100)
        for number, caption in zip(numbers_of(batch), batch.captions, strict=True):
            assert caption.startswith(f"{number % 3}.")
            mirrored += number >= 3
    assert 0.4 < mirrored / (40 * SIZE) < 0.6
