"""Architectures and initial weights against closed forms, the laws of App. A and timm itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import timm
import torch
from scipy import stats
from torch import Tensor, nn
from torch.testing import assert_close

from suite.basics.randomness import stream_key
from suite.data.splits import load
from suite.declarations.config import ConfigError, RunConfig, parse
from suite.engine.fleet import Fleet
from suite.models import build, timm_sizes
from suite.models.initialization import initial_buffer, initial_parameter
from suite.models.specs import Network, ParameterSpec

RESNETS = ("resnet9", "r9-avgpool", "resnet56", "resnet110")
TIMM = ("vit_tiny_patch16_224", "convnext_atto", "resnet18")
# What makes these take 8×8 images.
TIMM_OPTIONS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 8, "patch_size": 1},
    "convnext_atto": {"patch_size": 1},
    "resnet18": {},
    "test_resnet": {},
}


def network_of(config: RunConfig, channels: int = 1, side: int = 8, classes: int = 10) -> Network:
    return build(config, channels, side, side, classes)


def initial(network: Network, config: RunConfig) -> dict[str, Tensor]:
    dtype = torch.float64
    return {spec.name: initial_parameter(config, spec, dtype) for spec in network.parameters}


def stacked(network: Network, configs: Sequence[RunConfig]) -> tuple[dict[str, Tensor], ...]:
    runs = [initial(network, config) for config in configs]
    parameters = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}
    buffers = {
        spec.name: torch.stack([initial_buffer(spec, torch.float64)] * len(configs))
        for spec in network.buffers
    }
    return parameters, buffers


def count(specs: Sequence[Any]) -> int:
    return sum(math.prod(spec.shape) for spec in specs)


def conv_norm(inputs: int, outputs: int) -> int:
    return (9 * inputs + 1) * outputs + 2 * outputs


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("resnet9", 6_575_370),
        ("r9-avgpool", 6_575_370),
        ("resnet56", 857_706),
        ("resnet110", 1_734_666),
    ],
)
def test_parameter_counts_are_the_papers(model: str, parameters: int, norm: str) -> None:
    network = network_of(parse({"model": model, "width": 0, "norm": norm}), 3, 32)
    assert count(network.parameters) == parameters
    if model in ("resnet9", "r9-avgpool"):
        ends = [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512)]
        ends += [(512, 512), (512, 512)]
        closed_form, head = sum(conv_norm(*pair) for pair in ends), 513 * 10
    else:
        blocks = (int(model.removeprefix("resnet")) - 2) // 6
        inside = sum((2 * blocks - 1) * conv_norm(c, c) for c in (16, 32, 64))
        changes = conv_norm(16, 16) + conv_norm(16, 32) + conv_norm(32, 64)
        projections = (16 + 1) * 32 + (32 + 1) * 64
        closed_form, head = conv_norm(3, 16) + inside + changes + projections, 65 * 10
    assert closed_form + head == parameters


def test_batch_norm_adds_two_running_statistics_a_channel_and_layer_norm_none() -> None:
    batch, layer = (
        network_of(parse({"model": "resnet9", "width": 0, "norm": norm}), 3, 32)
        for norm in ("batch", "layer")
    )
    assert count(batch.parameters) + count(batch.buffers) == 6_579_850
    assert layer.buffers == ()


def kernels(network: Network) -> list[ParameterSpec]:
    return [spec for spec in network.parameters if spec.kind == "kernel"]


def assert_normal(draw: Tensor, std: float) -> None:
    """Mean and standard deviation within five standard errors."""
    n = draw.numel()
    assert abs(float(draw.mean())) < 5 * std / n**0.5
    # A deviation of n draws has relative standard error 1/√(2(n−1)).
    assert abs(float(draw.std()) / std - 1) < 5 / (2 * (n - 1)) ** 0.5


@pytest.mark.parametrize("sigma_w", [0.1, 1.0, 2.5])
@pytest.mark.parametrize(("model", "width"), [("resnet9", 32), ("resnet56", 16)])
def test_every_kernel_is_drawn_with_standard_deviation_sigma_w_over_root_fan_in(
    model: str, width: int, sigma_w: float
) -> None:
    config = parse({"model": model, "width": width, "sigma_w": sigma_w, "seed": 42})
    network = network_of(config, 3, 32)
    values = initial(network, config)
    layers = [spec for spec in network.parameters if len(spec.shape) > 1]
    assert layers == kernels(network)
    for spec in layers:
        fan_in = values[spec.name][0].numel()
        assert_normal(values[spec.name], sigma_w / fan_in**0.5)
        assert abs(stats.kurtosis(values[spec.name].flatten())) < 5 * (24 / spec.size) ** 0.5


def test_kernels_are_untruncated_normal_numbers() -> None:
    config = parse({"model": "resnet9", "width": 32})
    network = network_of(config)
    values = initial(network, config)
    z = torch.cat([(values[s.name] * s.fan_in**0.5).flatten() for s in kernels(network)])
    assert stats.kstest(z[:: len(z) // 20_000], "norm").pvalue > 1e-3
    beyond = float((z.abs() > 3).double().mean())
    assert beyond == pytest.approx(2 * stats.norm.sf(3), rel=0.05)


def test_biases_have_standard_deviation_sigma_b_whatever_sigma_w() -> None:
    draws = {}
    for sigma_w in (0.1, 2.5):
        config = parse({"model": "resnet56", "sigma_w": sigma_w})
        network = network_of(config)
        values = initial(network, config)
        biases = [v for n, v in values.items() if n.endswith(".bias")]
        assert len(biases) == 55 + 2 + 1
        draws[sigma_w] = torch.cat(biases)
        assert_normal(draws[sigma_w], 0.2)
    assert torch.equal(draws[0.1], draws[2.5])


def test_runs_of_one_seed_start_from_proportional_kernels() -> None:
    network = network_of(parse({}))
    small, large, double = (
        initial(network, parse({"sigma_w": sigma_w, "seed": 7})) for sigma_w in (0.1, 2.5, 0.2)
    )
    other = initial(network, parse({"sigma_w": 0.1, "seed": 8}))
    for spec in kernels(network):
        assert torch.equal(2 * small[spec.name], double[spec.name])
        assert_close(25 * small[spec.name], large[spec.name], rtol=1e-15, atol=0)
        assert not torch.isclose(small[spec.name], other[spec.name]).any()


def test_layers_of_one_run_are_drawn_independently() -> None:
    values = initial(network_of(parse({})), parse({}))
    same_shape = [values[f"res2{part}.kernel"].flatten() for part in "ab"]
    assert abs(stats.pearsonr(*same_shape).statistic) < 5 / len(same_shape[0]) ** 0.5


def test_single_precision_starts_where_double_precision_does() -> None:
    config = parse({})
    for spec in network_of(config).parameters:
        single, double = (
            initial_parameter(config, spec, t) for t in (torch.float32, torch.float64)
        )
        assert torch.equal(single, double.float())


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("model", ["resnet9", "resnet56"])
def test_norms_start_with_scale_one_and_shift_zero(model: str, norm: str) -> None:
    config = parse({"model": model, "norm": norm})
    network = network_of(config)
    values = initial(network, config)
    norms = {name: value for name, value in values.items() if ".norm." in name}
    assert len(norms) == 2 * (8 if model == "resnet9" else 55)
    for name, value in norms.items():
        assert torch.equal(value, torch.full_like(value, float(name.endswith(".scale"))))


@pytest.mark.parametrize("model", ["resnet9", "resnet56", "vit", "timm/test_resnet"])
def test_initial_weights_do_not_depend_on_company(model: str) -> None:
    data = load("digits", None, train_fraction=0.05)
    configs = [
        parse({"model": model, "batch_size": 8, "sigma_w": sigma_w, "seed": seed})
        for sigma_w, seed in ((0.1, 3), (2.5, 3), (1.0, 4))
    ]
    together = Fleet(configs, data, torch.device("cpu")).states()
    for config, state in zip(configs, together, strict=True):
        (alone,) = Fleet([config], data, torch.device("cpu")).states()
        assert_close(state.tensors, alone.tensors, rtol=0, atol=0)
        assert state.kernel_norm_initial == alone.kernel_norm_initial


@pytest.mark.parametrize("semantics", ["keras", "torch"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("model", RESNETS)
def test_runs_side_by_side_have_the_logits_they_have_alone(
    model: str, norm: str, semantics: str
) -> None:
    fixed = {"model": model, "width": 2, "norm": norm, "semantics": semantics}
    configs = [parse(fixed | {"seed": seed, "sigma_w": 1 + seed}) for seed in (0, 1)]
    network = build(configs[0], 3, 8, 9, 4)
    images = torch.rand(5, 2, 3, 8, 9, dtype=torch.float64, generator=torch.Generator())
    check_side_by_side(network, configs, images, classes=4)


@pytest.mark.parametrize("name", TIMM)
def test_timm_runs_side_by_side_have_the_logits_they_have_alone(name: str) -> None:
    configs = [parse({"model": f"timm/{name}", "seed": 0, "sigma_w": s}) for s in (0.5, 2.0)]
    images = torch.rand(2, 2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator())
    check_side_by_side(network_of(configs[0]), configs, images, classes=10)


def check_side_by_side(
    network: Network, configs: Sequence[RunConfig], images: Tensor, classes: int
) -> None:
    """Logits and what they leave in the buffers, in training and then in inference mode."""
    parameters, buffers = stacked(network, configs)
    before = {name: value.clone() for name, value in buffers.items()}
    for training in (True, False):
        scores = network.logits(parameters, buffers, images, training=training)
        assert scores.shape == (len(images), 2, classes)
        for run in range(2):
            alone = {name: value[run : run + 1] for name, value in parameters.items()}
            own = {name: value[run : run + 1].clone() for name, value in before.items()}
            if not training:
                own = {name: value[run : run + 1].clone() for name, value in buffers.items()}
            single = network.logits(alone, own, images[:, run : run + 1], training=training)
            assert_close(scores[:, run], single[:, 0], rtol=1e-10, atol=1e-10)
            for name, value in own.items():
                assert_close(buffers[name][run], value[0], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(scores[:, 0], scores[:, 1])


@pytest.mark.parametrize("model", RESNETS)
def test_images_smaller_than_8_pixels_are_refused_in_one_line(model: str) -> None:
    config = parse({"model": model})
    with pytest.raises(ConfigError, match=rf"^model: {model} takes images of 8×8 .* got 8×7; "):
        build(config, 1, 8, 7, 10)
    build(config, 1, 8, 8, 10)


def timms_own(name: str, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(seed, "timm"))
        module: nn.Module = timm.create_model(
            name, num_classes=10, in_chans=1, **TIMM_OPTIONS[name]
        )
    return module


@pytest.mark.parametrize("name", TIMM)
def test_timm_kernels_follow_sigma_w_and_the_rest_starts_as_in_timm(name: str) -> None:
    config = parse({"model": f"timm/{name}", "seed": 5, "sigma_w": 0.7})
    network = network_of(config)
    specs, values = {spec.name: spec for spec in network.parameters}, initial(network, config)
    module = timms_own(name, 5)
    own = dict(module.named_parameters())
    assert list(specs) == list(own)
    weights = {
        f"{prefix}.weight"
        for prefix, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    biases = {key.replace(".weight", ".bias") for key in weights} & set(own)
    for key, spec in specs.items():
        assert spec.kind == ("kernel" if key in weights else "bias" if key in biases else "other")
        if spec.kind == "kernel":
            fan_in, _ = nn.init._calculate_fan_in_and_fan_out(own[key])
            assert_normal(values[key], 0.7 / fan_in**0.5)
        elif spec.kind == "other":
            assert torch.equal(values[key], own[key].detach().double())
    assert_normal(torch.cat([values[key] for key in biases]), 0.2)
    assert [s.name for s in network.parameters if s.classifier] == [
        {"convnext_atto": "head.fc.weight", "resnet18": "fc.weight"}.get(name, "head.weight")
    ]
    if name.startswith("vit"):
        assert {"cls_token", "pos_embed"} < {k for k, s in specs.items() if s.kind == "other"}
        assert float(values["pos_embed"].std()) > 0


def test_timm_logits_are_those_of_the_module_that_timm_makes() -> None:
    config = parse({"model": "timm/test_resnet", "seed": 5})
    network, module = network_of(config), timms_own("test_resnet", 5).double()
    module.load_state_dict(initial(network, config), strict=False)
    parameters, buffers = stacked(network, [config])
    images = torch.rand(4, 1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator())
    for training in (True, False):
        expected = module.train(training)(images[:, 0])
        ours = network.logits(parameters, buffers, images, training=training)
        assert_close(ours[:, 0], expected, rtol=1e-10, atol=1e-10)
    for name, value in module.named_buffers():
        assert_close(buffers[name][0], value, rtol=1e-12, atol=1e-12)


def test_timm_models_draw_nothing_from_global_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    # A Swin, which comes with stochastic depth on, made small.
    options: dict[str, Any] = {
        "img_size": 8,
        "patch_size": 1,
        "window_size": 4,
        "embed_dim": 12,
        "depths": (2, 2),
    }
    monkeypatch.setitem(timm_sizes.OPTIONS_BY_MODULE, "swin_transformer", lambda _: options)
    own = timm.create_model("swin_tiny_patch4_window7_224", **options)
    assert own.layers[1].blocks[1].drop_path1.drop_prob > 0
    before = torch.get_rng_state()
    config = parse({"model": "timm/swin_tiny_patch4_window7_224"})
    network = network_of(config)
    parameters, buffers = stacked(network, [config])
    images = torch.rand(4, 1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator())
    scores = [network.logits(parameters, buffers, images, training=True) for _ in range(2)]
    assert torch.equal(*scores)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_timm_model_is_answered_in_one_line_with_a_suggestion() -> None:
    with pytest.raises(ConfigError) as error:
        network_of(parse({"model": "timm/vit_tiny_patch16_22"}))
    assert str(error.value) == (
        "model: must be a model that timm knows, got 'timm/vit_tiny_patch16_22'; "
        "did you mean timm/vit_tiny_patch16_224?"
    )


def test_timm_model_that_cannot_take_the_images_is_answered_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^model: cannot be built for 8×8 images, got 'timm/levit_128s' \(Exp"
    ):
        network_of(parse({"model": "timm/levit_128s"}))
    with pytest.raises(ConfigError, match=r"^model: timm models take square images, got 8×9; "):
        build(parse({"model": "timm/resnet18"}), 1, 8, 9, 10)
