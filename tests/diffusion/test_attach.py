"""Adapters go into a model exactly and come out without a trace."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from spectral_diffusion.adapters import METHODS, FreeAdapter, WeightAdapter
from spectral_diffusion.diffusion import attach as module_under_test
from spectral_diffusion.diffusion.attach import Attachment, attach, bake
from spectral_diffusion.diffusion.base import Base, target_modules
from spectral_diffusion.diffusion.targets import PATTERNS, flat_weight
from spectral_diffusion.errors import BaseMismatchError
from spectral_diffusion.spectrum import LowRankDelta, decompose

WAYS = (attach, bake)
both_ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
Way = Callable[[Mapping[str, nn.Module], Mapping[str, WeightAdapter | LowRankDelta]], Attachment]


class Doubled(WeightAdapter):
    """A method without factors: W' = gain * W."""

    SHAPES = {"gain": ("rank",)}  # noqa: RUF012
    TRAINED = frozenset({"gain"})

    @classmethod
    def create(cls, spectrum_slot, *, train_singular_values=False):
        return cls({"gain": torch.ones(1)})

    @staticmethod
    def parameter_count(out_features, in_features, rank, *, train_singular_values=False):
        return 1

    def low_rank(self):
        return None

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.get_parameter("gain")


def random_delta(module: nn.Module, rank: int = 3, seed: int = 0) -> LowRankDelta:
    rows, columns = flat_weight(module).shape
    generator = torch.Generator().manual_seed(seed)
    return LowRankDelta(
        torch.randn(rows, rank, generator=generator) / rows**0.5,
        torch.randn(rank, columns, generator=generator) / columns**0.5,
    )


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) and not any(
        module._forward_hooks or module._forward_pre_hooks for module in model.modules()
    )


ALL = ("attention", "feed_forward", "projection", "convolution")


@given(seed=st.integers(0, 10**6), count=st.integers(0, 30), way=st.sampled_from(WAYS))
def test_detaching_restores_bit_for_bit(base: Base, seed: int, count: int, way: Way):
    modules = target_modules(base, ("unet", "text_encoder"), ALL)
    chosen = random.Random(seed).sample(sorted(modules), count)
    before = {name: state_of(model) for name, model in base.components.items()}
    attachment = way(base.components, {path: random_delta(modules[path], seed=seed) for path in chosen})
    attachment.detach()
    attachment.detach()
    assert all(unchanged(model, before[name]) for name, model in base.components.items())


@given(order=st.permutations(range(3)), ways=st.tuples(*[st.sampled_from(WAYS)] * 3))
def test_nested_attachments_add_up_and_leave_in_any_order(order: list[int], ways: tuple[Way, ...]):
    layer = nn.Linear(6, 5)
    model = {"unet": nn.ModuleDict({"layer": layer})}
    before, weight = state_of(layer), layer.weight.detach().clone()
    inputs = torch.randn(4, 6)
    deltas = [random_delta(layer, seed=seed) for seed in range(3)]
    attachments = [way(model, {"unet.layer": delta}) for way, delta in zip(ways, deltas, strict=True)]
    remaining = set(range(3))
    for leaving in order:
        expected = weight + sum(deltas[index].dense() for index in remaining)
        torch.testing.assert_close(layer(inputs), nn.functional.linear(inputs, expected, layer.bias))
        attachments[leaving].detach()
        remaining.remove(leaving)
    assert unchanged(layer, before)


@both_ways
@pytest.mark.parametrize("pattern", PATTERNS)
def test_attaching_equals_adding_the_dense_change(base: Base, way: Way, pattern: str):
    modules = target_modules(base, patterns=(pattern,))
    deltas = {path: random_delta(module) for path, module in modules.items()}
    latents, embeds = torch.randn(2, 4, 16, 16), torch.randn(2, 77, 32)

    def output() -> Tensor:
        with torch.no_grad():
            return base.unet(latents, torch.tensor(100), encoder_hidden_states=embeds).sample

    plain = output()
    with way(base.components, deltas):
        adapted = output()
    originals = {path: module.get_parameter("weight").data.clone() for path, module in modules.items()}
    for path, module in modules.items():
        module.get_parameter("weight").data += deltas[path].dense().view_as(originals[path])
    reference = output()
    for path, module in modules.items():
        module.get_parameter("weight").data.copy_(originals[path])
    torch.testing.assert_close(adapted, reference, rtol=1e-5, atol=1e-5)
    assert float((adapted - plain).abs().max()) > 1e-3
    assert torch.equal(output(), plain)


@both_ways
@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 4, 1),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(6, 4, (3, 5), padding=(1, 2), dilation=(2, 1)),
        nn.Conv2d(6, 4, 3, padding="same"),
        nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(6, 4, 3, padding=1).to(memory_format=torch.channels_last),
    ],
    ids=str,
)
def test_a_convolutions_factors_equal_its_dense_change(way: Way, convolution: nn.Conv2d):
    delta = random_delta(convolution, rank=2)
    pictures = torch.randn(2, 6, 12, 13)
    kernel = convolution.weight + delta.dense().view_as(convolution.weight)
    expected = convolution._conv_forward(pictures, kernel, convolution.bias)
    before = state_of(convolution)
    with way({"unet": nn.ModuleDict({"conv": convolution})}, {"unet.conv": delta}):
        torch.testing.assert_close(convolution(pictures), expected, rtol=1e-5, atol=1e-5)
    assert unchanged(convolution, before)


@both_ways
@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3, padding=1)], ids=str)
def test_a_method_without_factors_replaces_the_weight(way: Way, layer: nn.Linear | nn.Conv2d):
    adapter = Doubled({"gain": torch.full((1,), 2.0)})
    inputs = torch.randn(3, 6) if isinstance(layer, nn.Linear) else torch.randn(3, 6, 8, 8)
    assert layer.bias is not None
    bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias[:, None, None]
    expected = 2 * (layer(inputs) - bias) + bias
    with way({"unet": nn.ModuleDict({"layer": layer})}, {"unet.layer": adapter}):
        torch.testing.assert_close(layer(inputs), expected)


def _untrained(method: str, layer: nn.Linear) -> WeightAdapter:
    kind = METHODS[method]
    if issubclass(kind, FreeAdapter):
        return kind.create((layer.out_features, layer.in_features), 3, torch.Generator().manual_seed(0))
    return kind.create(decompose(layer.weight, 3))


@pytest.mark.parametrize("method", [*METHODS, "doubled"])
def test_gradients_reach_an_attached_adapter(method: str):
    layer = nn.Linear(6, 5).requires_grad_(False)
    adapter = Doubled({"gain": torch.ones(1)}) if method == "doubled" else _untrained(method, layer)
    with attach({"unet": nn.ModuleDict({"layer": layer})}, {"unet.layer": adapter}):
        layer(torch.randn(4, 6)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    assert any(
        float(parameter.grad.abs().max()) > 0 for parameter in adapter.parameters() if parameter.grad is not None
    )


def test_an_attached_adapter_is_read_anew_and_a_baked_one_is_not():
    layer = nn.Linear(6, 5)
    model = {"unet": nn.ModuleDict({"layer": layer})}
    adapter = Doubled({"gain": torch.ones(1)})
    inputs = torch.randn(4, 6)
    plain = layer(inputs)
    with attach(model, {"unet.layer": adapter}), torch.no_grad():
        adapter.get_parameter("gain").fill_(3.0)
        assert not torch.allclose(layer(inputs), plain)
    adapter.get_parameter("gain").data.fill_(1.0)
    with bake(model, {"unet.layer": adapter}), torch.no_grad():
        adapter.get_parameter("gain").fill_(3.0)
        torch.testing.assert_close(layer(inputs), plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_a_small_change_beside_the_weight(dtype: torch.dtype):
    layer = nn.Linear(64, 64, bias=False).to(dtype).requires_grad_(False)
    inputs = torch.randn(8, 64).to(dtype)
    delta = LowRankDelta(*(1e-2 * factor for factor in random_delta(layer, rank=4)))
    change = nn.functional.linear(inputs.float(), delta.dense())
    model = {"unet": nn.ModuleDict({"layer": layer})}
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output)

    layer.register_forward_hook(note)
    with attach(model, {"unet.layer": delta}):
        adapted = layer(inputs)
    assert adapted.dtype == dtype
    # Rounding of the sum is that of the output, not of the weights.
    exact = seen[0].float() + change
    assert float((adapted.float() - exact).abs().max()) <= float(exact.abs().max()) * torch.finfo(dtype).eps


@both_ways
def test_what_does_not_fit_is_refused_before_anything_changes(base: Base, way: Way):
    modules = target_modules(base)
    path, module = next(iter(modules.items()))
    fine = {path: random_delta(module)}
    before = state_of(base.unet)
    rows, columns = flat_weight(module).shape
    wrong = [
        {"unet.no.such.layer": random_delta(module)},
        {"transformer.layer": random_delta(module)},
        {"unet.mid_block": random_delta(module)},
        {"unet.down_blocks.0.resnets.0.norm1": random_delta(module)},
        {list(modules)[1]: LowRankDelta(torch.zeros(rows + 1, 2), torch.zeros(2, columns))},
        {list(modules)[1]: LowRankDelta(torch.zeros(rows, 2), torch.zeros(2, columns + 1))},
    ]
    for adapters in wrong:
        with pytest.raises(BaseMismatchError, match="the base that the adapter was trained on"):
            way(base.components, fine | adapters)
        assert unchanged(base.unet, before)


def test_grouped_convolutions_are_refused():
    grouped = nn.Conv2d(4, 4, 3, groups=2)
    with pytest.raises(BaseMismatchError, match="grouped"):
        attach({"unet": nn.ModuleDict({"conv": grouped})}, {"unet.conv": random_delta(grouped)})


def test_an_interrupted_bake_leaves_neither_changes_nor_originals_behind(monkeypatch: pytest.MonkeyPatch):
    layers = nn.ModuleDict({name: nn.Linear(6, 5) for name in "abc"})
    before = state_of(layers)
    deltas = {f"unet.{name}": random_delta(layer) for name, layer in layers.items()}
    settled, calls = module_under_test._settled, []

    def interrupt(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return settled(*given)

    monkeypatch.setattr(module_under_test, "_settled", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bake({"unet": layers}, deltas)
    assert unchanged(layers, before)
    monkeypatch.undo()
    # Other weights than those that an interrupted bake began with are what the next one comes back to.
    with torch.no_grad():
        for layer in layers.values():
            layer.weight.add_(1)
    before = state_of(layers)
    bake({"unet": layers}, deltas).detach()
    assert unchanged(layers, before)


@pytest.mark.parametrize("at", range(1, 7))
def test_an_interrupted_detach_is_finished_before_the_interrupt_goes_on(at: int, monkeypatch: pytest.MonkeyPatch):
    layers = nn.ModuleDict({name: nn.Linear(6, 5) for name in "abc"})
    before = state_of(layers)
    deltas = {f"unet.{name}": random_delta(layer) for name, layer in layers.items()}
    write, calls = module_under_test._Baked.write, []

    def interrupted(baked: Any, layer: nn.Module) -> None:
        calls.append(layer)
        # Before or after a weight is written, and again while what was interrupted is made good.
        if len(calls) == (at + 1) // 2 and at % 2:
            raise KeyboardInterrupt
        write(baked, layer)
        if len(calls) in (at // 2, at // 2 + 1) and not at % 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), bake({"unet": layers}, deltas):
        monkeypatch.setattr(module_under_test._Baked, "write", interrupted)
    monkeypatch.undo()
    assert unchanged(layers, before)
    assert not any(layer in module_under_test._BAKED for layer in layers.values())


def test_a_fault_inside_leaves_nothing_behind(base: Base):
    before = state_of(base.unet)
    deltas = {path: random_delta(module) for path, module in target_modules(base).items()}
    for way in WAYS:
        with pytest.raises(KeyboardInterrupt), way(base.components, deltas):
            raise KeyboardInterrupt
        assert unchanged(base.unet, before)
