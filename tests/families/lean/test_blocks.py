"""Lean blocks of a frozen U-Net: the numbers are those of diffusers' own blocks, and less is kept for them."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tests.tiny_models import TINY_MODELS
from ti_trainer import ModelConfig
from ti_trainer.families import FAMILIES, load_family
from ti_trainer.families.latent_diffusion import to_channels_last
from ti_trainer.families.lean.blocks import LeanGEGLU, LeanResnetBlock, make_lean
from ti_trainer.families.lean.convolutions import FrozenConv2d

CHANNELS, TIME, SIDES = 8, 12, (6, 5)
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: ResnetBlock2D(in_channels=CHANNELS, temb_channels=TIME, groups=4),
    "wider": lambda: ResnetBlock2D(in_channels=CHANNELS, out_channels=12, temb_channels=TIME, groups=4, eps=1e-3),
    "geglu": lambda: GEGLU(CHANNELS, 20),
}


def plain_and_lean(block: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = BLOCKS[block]()
    for parameter in plain.parameters():  # a norm begins as the identity
        nn.init.normal_(parameter, std=0.5)
    plain.requires_grad_(False).eval().to(dtype)
    lean = deepcopy(plain)
    make_lean(lean)
    assert type(lean) is {ResnetBlock2D: LeanResnetBlock, GEGLU: LeanGEGLU}[type(plain)]
    return plain, lean


def inputs(block: nn.Module, batch: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(1)
    if isinstance(block, GEGLU):
        return [torch.randn(batch, 30, CHANNELS).to(dtype)]
    return [torch.randn(batch, CHANNELS, *SIDES).to(dtype), torch.randn(batch, TIME).to(dtype)]


def output_and_gradient(block: nn.Module, input: Tensor, *others: Tensor) -> Tensor:
    """Both in one row."""
    input = input.clone().requires_grad_()
    output = block(input, *others)
    (gradient,) = torch.autograd.grad(output.sin().sum(), input)
    return torch.cat([output.detach().flatten(), gradient.flatten()])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_numbers_are_diffusers(block: str, batch: int) -> None:
    plain, lean = plain_and_lean(block, torch.double)
    given = inputs(plain, batch, torch.double)
    found, wanted = output_and_gradient(lean, *given), output_and_gradient(plain, *given)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    with torch.no_grad():  # as in previews
        output = lean(*given).flatten()
    assert torch.equal(output, found[: output.numel()])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_half_precision_is_no_worse(block: str, dtype: torch.dtype) -> None:
    """Against the same weights in float64, beside the error that diffusers' block makes."""
    plain, lean = plain_and_lean(block, dtype)
    given = inputs(plain, 2, dtype)
    truth = output_and_gradient(deepcopy(plain).double(), *(tensor.double() for tensor in given))
    errors = [(output_and_gradient(each, *given) - truth).norm() for each in (lean, plain)]
    assert errors[0] < 1.2 * errors[1]


def kept_numbers(block: nn.Module, given: list[Tensor]) -> int:
    """How many numbers are kept for the backward pass, without the weights."""
    kept = {tensor.untyped_storage()._cdata: 0 for tensor in block.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes() // tensor.element_size())
        return tensor

    given[0].requires_grad_()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        block(*given)
    return sum(kept.values())


def test_little_is_kept() -> None:
    plain, lean = plain_and_lean("resnet", torch.float)
    given = inputs(plain, 2, torch.float)
    picture, statistics = given[0].numel(), 2 * 2 * 4  # mean and scale of 4 groups in 2 pictures
    assert kept_numbers(lean, given) == 2 * (picture + statistics)  # the inputs of two norms
    assert kept_numbers(plain, given) > 5 * picture
    plain, lean = plain_and_lean("geglu", torch.float)
    given = inputs(plain, 2, torch.float)
    assert kept_numbers(lean, given) == 2 * 2 * 30 * 20
    assert kept_numbers(plain, given) == 3 * 2 * 30 * 20


@pytest.mark.parametrize(
    "other",
    [
        {"up": True},
        {"down": True},
        {"temb_channels": None},
        {"time_embedding_norm": "scale_shift"},
        {"skip_time_act": True},
        {"dropout": 0.1},
        {"output_scale_factor": 2.0},
        {"non_linearity": "gelu"},
    ],
)
def test_other_blocks_are_left_alone(other: dict[str, Any]) -> None:
    block = ResnetBlock2D(**{"in_channels": CHANNELS, "temb_channels": TIME, "groups": 4, **other})
    make_lean(block)
    assert type(block) is ResnetBlock2D


@pytest.fixture(params=[k for k, row in TINY_MODELS.items() if FAMILIES[row.pipeline].denoiser_part == "unet"])
def unet_model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    """The tiny model of each kind that has a U-Net."""
    return tiny_models[request.param]


def load_unet(model: Path, **others: Any) -> UNet2DConditionModel:
    family = load_family(ModelConfig(model=str(model), **others), torch.device("cpu"), torch.float32)
    return family.pipeline().unet


def test_names_and_weights_stay(unet_model: Path) -> None:
    lean, plain = (load_unet(unet_model, lean_unet=on) for on in (True, False))
    wanted, found = plain.state_dict(), lean.state_dict()
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    kinds = {type(module) for module in lean.modules()}
    assert kinds > {FrozenConv2d, LeanResnetBlock, LeanGEGLU}
    assert not kinds & {nn.Conv2d, ResnetBlock2D, GEGLU}


def noise_and_gradient(unet: UNet2DConditionModel, batch: int) -> tuple[Tensor, Tensor]:
    """What it predicts, and the gradient of the text."""
    torch.manual_seed(0)
    noisy = torch.randn(batch, 4, 8, 12)
    context = torch.randn(batch, 7, unet.config.cross_attention_dim).requires_grad_()
    added = {}
    if unet.config.addition_embed_type:
        width = unet.add_embedding.linear_1.in_features - 6 * unet.config.addition_time_embed_dim
        added = {"text_embeds": torch.randn(batch, width), "time_ids": torch.randn(batch, 6)}
    prediction = unet(noisy, torch.arange(batch) * 300 + 1, context, added_cond_kwargs=added).sample
    (gradient,) = torch.autograd.grad(prediction.sin().sum(), context)
    return prediction.detach(), gradient


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_unet_is_diffusers(unet_model: Path, batch: int, checkpointing: bool) -> None:
    plain = load_unet(unet_model, lean_unet=False)
    lean = load_unet(unet_model, gradient_checkpointing=checkpointing)
    for found, wanted in zip(noise_and_gradient(lean, batch), noise_and_gradient(plain, batch), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_bit_for_bit_the_same_on_several_threads(model: Path) -> None:
    unet = load_unet(model)
    torch.set_num_threads(4)
    try:
        seen = {b"".join(tensor.numpy().tobytes() for tensor in noise_and_gradient(unet, 3)) for _ in range(8)}
    finally:
        torch.set_num_threads(1)
    assert len(seen) == 1


def test_channels_last_is_the_same(unet_model: Path) -> None:
    """As on a GPU, which has torch's own blocks."""
    unet = load_unet(unet_model, lean_unet=False)
    plain = noise_and_gradient(unet, 2)
    to_channels_last(unet)
    assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    for found, wanted in zip(noise_and_gradient(unet, 2), plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
