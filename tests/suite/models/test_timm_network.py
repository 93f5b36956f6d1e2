"""timm's families on small images, and which of their parameters the initialization draws."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from suite.declarations.config import ConfigError, RunConfig, parse
from suite.models import build, timm_sizes
from suite.models.initialization import initial_buffer, initial_parameter
from suite.models.specs import Network, ParameterSpec

# One of each family that is cheap to build.
ANY_SIZE = (
    "test_byobnet",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_resnet",
    "ghostnet_050",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "regnetx_002",
    "resnet18",
    "starnet_s050",
    "xcit_nano_12_p8_224",
)
SIZED = (
    "test_vit",
    "test_vit3",
    "test_vit_relpos",
    "vit_tiny_patch16_224",
    "vit_tiny_r_s16_p8_224",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "convit_tiny",
    "pit_ti_224",
    "test_convnext",
    "convnext_atto",
)
# At 8×8 their convolutions leave nothing.
LARGER = (
    "test_coatnet",
    "test_maxvit",
    "coat_lite_tiny",
    "efficientformerv2_s0",
    "gmlp_ti16_224",
    "levit_128s",
    "visformer_tiny",
)
FAMILIES = [
    *((name, 8) for name in ANY_SIZE),
    *((name, side) for name in SIZED for side in (8, 32)),
    *((name, 32) for name in (*LARGER, "resnet18")),
    ("cait_xxs24_224", 32),
    ("swin_tiny_patch4_window7_224", 8),
]


def network_of(config: RunConfig, side: int) -> Network:
    return build(config, 1, side, side, 10)


def timm_run(name: str, **changes: Any) -> RunConfig:
    return parse({"model": f"timm/{name}"} | changes)


def scores(network: Network, config: RunConfig, images: Tensor) -> Tensor:
    """Shape (images, classes), from weights of which none is zero.

    At the start of training some are: a ResNet's blocks are then their shortcuts alone.
    """
    generator = torch.Generator().manual_seed(2)
    parameters = {}
    for spec in network.parameters:
        value = initial_parameter(config, spec, images.dtype)
        if spec.kind == "other":
            value = value + 0.1 * torch.randn(spec.shape, generator=generator)
        parameters[spec.name] = value.unsqueeze(0)
    buffers = {spec.name: initial_buffer(spec, images.dtype)[None] for spec in network.buffers}
    return network.logits(parameters, buffers, images.unsqueeze(1), training=False)[:, 0]


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_every_pixel_of_a_small_image_counts(name: str, side: int) -> None:
    config = timm_run(name)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 1, side, side, generator=generator).requires_grad_()
    found = scores(network_of(config, side), config, images)
    assert found.shape == (2, 10)
    weights = torch.randn(2, 10, generator=generator)
    (slope,) = torch.autograd.grad((weights * found).sum(), images)
    assert (slope != 0).any(dim=0).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 4}),
        ("swin_tiny_patch4_window7_224", {"img_size": 32, "patch_size": 2, "window_size": 4}),
        ("swinv2_tiny_window8_256", {"img_size": 32, "patch_size": 2, "window_size": 4}),
        ("beit_base_patch16_224", {"img_size": 32, "patch_size": 4}),
        ("mixer_b16_224", {"img_size": 32}),
        ("convnext_atto", {"patch_size": 1}),
        ("resnet18", {}),
    ],
)
def test_cifar10s_images_change_what_they_always_did(name: str, options: dict[str, Any]) -> None:
    """Runs of these models are in stores already."""
    assert timm_sizes.size_options(name, 32) == options


@pytest.mark.parametrize("side", [8, 32])
def test_a_vit_sees_eight_by_eight_patches_and_its_class_token(side: int) -> None:
    network = network_of(timm_run("vit_tiny_patch16_224"), side)
    shapes = {spec.name: spec.shape for spec in network.parameters}
    assert shapes["pos_embed"] == (1, 1 + 8 * 8, 192)
    assert shapes["patch_embed.proj.weight"] == (192, 1, side // 8, side // 8)


@pytest.mark.parametrize(
    ("name", "side"), [("test_vit", 160), ("test_convnext", 160), ("vit_tiny_patch16_224", 224)]
)
def test_at_the_size_that_timm_registers_a_model_is_timms_own(name: str, side: int) -> None:
    network = network_of(timm_run(name), side)
    own = timm.create_model(name, in_chans=1, num_classes=10)
    assert {spec.name: spec.shape for spec in network.parameters} == {
        key: tuple(value.shape) for key, value in own.named_parameters()
    }


def test_a_pretrained_tag_says_no_more_than_the_architecture() -> None:
    plain, tagged = (network_of(timm_run(name), 8) for name in ("test_vit", "test_vit.r160_in1k"))
    assert [s.shape for s in plain.parameters] == [s.shape for s in tagged.parameters]
    with pytest.raises(ConfigError, match=r"^model: cannot be built .*Invalid pretrained tag"):
        network_of(timm_run("test_vit.no_such_tag"), 8)


def test_a_model_without_class_scores_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_names, **_options: nn.Flatten(2))
    with pytest.raises(ConfigError, match=r"'timm/test_vit' \(it gives no class scores\); choose "):
        network_of(timm_run("test_vit"), 8)


SMALL_BEIT = {"img_size": 8, "patch_size": 1, "embed_dim": 48, "depth": 2, "num_heads": 3}
SMALL_SWIN = {
    "img_size": 8,
    "patch_size": 1,
    "window_size": 4,
    "embed_dim": 48,
    "depths": (2, 2),
    "num_heads": (3, 6),
}


@pytest.mark.parametrize(
    ("module", "name", "options"),
    [
        ("beit", "beit_base_patch16_224", SMALL_BEIT),
        ("swin_transformer_v2", "swinv2_tiny_window8_256", SMALL_SWIN),
        ("eva", "vit_tiny_patch16_dinov3_qkvb", SMALL_BEIT),
    ],
)
def test_biases_of_queries_and_values_that_stand_apart_are_drawn_as_all_biases_are(
    module: str, name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timm_sizes.OPTIONS_BY_MODULE, module, lambda _side: options)
    config = timm_run(name, sigma_w=2.5, sigma_b=0.3)
    specs = network_of(config, 8).parameters
    apart = [spec for spec in specs if spec.name.endswith((".q_bias", ".v_bias"))]
    assert len(apart) >= 2 * 2  # of queries and of values, in two blocks or more
    assert_biases(config, apart)
    tables = [spec for spec in specs if "relative_position" in spec.name and spec.kind == "bias"]
    assert all(".cpb_mlp." in spec.name for spec in tables)  # linear layers of their own


def assert_biases(config: RunConfig, specs: list[ParameterSpec]) -> None:
    """Drawn with standard deviation σb, as far as their number tells."""
    assert {spec.kind for spec in specs} == {"bias"}
    draw = torch.cat([initial_parameter(config, spec, torch.float64) for spec in specs])
    error = config.sigma_b / (2 * (len(draw) - 1)) ** 0.5
    assert abs(float(draw.std()) - config.sigma_b) < 5 * error
    assert abs(float(draw.mean())) < 5 * config.sigma_b / len(draw) ** 0.5
