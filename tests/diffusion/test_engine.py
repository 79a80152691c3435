"""Laws of the training engine: the same numbers as autograd and AdamW would give, only faster."""

from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from spectral_diffusion.adapters import METHODS, ColumnAdapter, WeightAdapter
from spectral_diffusion.diffusion.engine import EMBEDDINGS, SINGULAR_VALUES, Engine
from spectral_diffusion.errors import BaseMismatchError
from spectral_diffusion.spectrum import ColumnSlot, as_matrix, decompose, take_slot

RATES = {"unet": 1e-2, "text_encoder": 3e-3, EMBEDDINGS: 5e-3, SINGULAR_VALUES: 7e-3}
CASES = [("spectral", False), ("spectral", True), ("rotation", False), ("rotation", True), ("lora", False)]


class _Net(nn.Module):
    """Linear with and without bias, and a convolution, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10)
        self.second = nn.Linear(10, 8, bias=False)
        self.conv = nn.Conv2d(2, 6, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(torch.tanh(self.first(x)))
        return self.conv(hidden.view(*hidden.shape[:-1], 2, 2, 2).flatten(0, 1))


def _net(dtype: torch.dtype = torch.float64) -> _Net:
    torch.manual_seed(0)
    return _Net().to(dtype).requires_grad_(False)


def _adapters(net: nn.Module, method: str, singular: bool, scale: float = 0.1) -> dict[str, WeightAdapter]:
    adapters: dict[str, WeightAdapter] = {}
    for path in ("first", "second", "conv"):
        matrix, kind = as_matrix(net.get_parameter(f"{path}.weight")), METHODS[method]
        adapter: WeightAdapter
        if issubclass(kind, ColumnAdapter):
            slot = take_slot(decompose(matrix, 6), ColumnSlot(2, 3))
            adapter = kind.create(slot, train_singular_values=singular)
        else:
            adapter = kind.create((matrix.shape[0], matrix.shape[1]), 3, torch.Generator()).to(matrix.dtype)
        for parameter in adapter.parameters():
            parameter.data = scale * torch.randn_like(parameter)
        adapters[f"unet.{path}"] = adapter
    return adapters


def _copies(adapters: Mapping[str, WeightAdapter]) -> dict[str, WeightAdapter]:
    return {path: type(adapter).from_tensors(adapter.tensors()) for path, adapter in adapters.items()}


def _dense(net: nn.Module, adapters: Mapping[str, WeightAdapter], x: Tensor) -> Tensor:
    """The same network with W' built in full, through plain autograd."""
    weights = {
        f"{path.removeprefix('unet.')}.weight": adapter(net.get_parameter(f"{path.removeprefix('unet.')}.weight"))
        for path, adapter in adapters.items()
    }
    return functional_call(net, weights, (x,))


@pytest.mark.parametrize(("method", "singular"), CASES)
@given(seed=st.integers(0, 2**31))
def test_gradients_equal_autograd_through_the_dense_weight(method: str, singular: bool, seed: int) -> None:
    net = _net()
    torch.manual_seed(seed)
    adapters = _adapters(net, method, singular)
    reference = _copies(adapters)
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    x_reference = x.detach().clone().requires_grad_()
    with Engine({"unet": net}, adapters, {}, RATES, dtype=torch.float64) as engine:
        engine.begin()
        y = net(x)
        y.square().sum().backward()
    y_reference = _dense(net, reference, x_reference)
    y_reference.square().sum().backward()
    torch.testing.assert_close(y, y_reference, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(x.grad, x_reference.grad, rtol=1e-10, atol=1e-10)
    for path, adapter in adapters.items():
        for name, parameter in adapter.named_parameters():
            expected = reference[path].get_parameter(name).grad
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("method", "singular"), CASES)
def test_steps_equal_adamw_per_parameter_with_clipping(method: str, singular: bool) -> None:
    net = _net()
    adapters = _adapters(net, method, singular)
    reference = _copies(adapters)
    token, token_reference = (nn.Parameter(torch.full((6,), 0.5, dtype=torch.float64)) for _ in range(2))
    groups: dict[float, list[nn.Parameter]] = {}
    for adapter in reference.values():
        for name, parameter in adapter.named_parameters():
            groups.setdefault(RATES[SINGULAR_VALUES if name == "C" else "unet"], []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": members, "lr": rate, "weight_decay": 0.1} for rate, members in groups.items()]
        + [{"params": [token_reference], "lr": RATES[EMBEDDINGS], "weight_decay": 0.0}]
    )
    base_rates = [group["lr"] for group in optimizer.param_groups]
    everything = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    engine = Engine({"unet": net}, adapters, {"<o>": token}, RATES, weight_decay=0.1, dtype=torch.float64)
    for step in range(5):
        x = torch.randn(2, 3, 6, dtype=torch.float64)
        factor = 1 / (step + 1)
        with engine:
            engine.begin()
            net(x * token).square().sum().backward()
            norm = engine.finish(rate_factor=factor, gradient_clip=0.7)
        optimizer.zero_grad()
        _dense(net, reference, x * token_reference).square().sum().backward()
        norm_reference = nn.utils.clip_grad_norm_(everything, 0.7)
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        optimizer.step()
        torch.testing.assert_close(norm, norm_reference, rtol=1e-9, atol=0)
    torch.testing.assert_close(token, token_reference, rtol=1e-9, atol=1e-12)
    for path, adapter in adapters.items():
        for name, parameter in adapter.named_parameters():
            torch.testing.assert_close(parameter, reference[path].get_parameter(name), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("order", [0, 1], ids=["with C first", "with C last"])
def test_layers_of_several_methods_train_side_by_side(order: int) -> None:
    net = _net()
    kinds = [_adapters(net, method, singular) for method, singular in (("spectral", True), ("spectral", False))]
    lora = _adapters(net, "lora", False)
    paths = ("unet.first", "unet.second")
    adapters = {paths[order]: kinds[0][paths[order]], paths[1 - order]: lora[paths[1 - order]]}
    adapters = {path: adapters[path] for path in paths} | {"unet.conv": kinds[1]["unet.conv"]}
    reference = _copies(adapters)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    with Engine({"unet": net}, adapters, {}, RATES, dtype=torch.float64) as engine:
        engine.begin()
        net(x).square().sum().backward()
    _dense(net, reference, x).square().sum().backward()
    for path, adapter in adapters.items():
        for name, parameter in adapter.named_parameters():
            expected = reference[path].get_parameter(name).grad
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["spectral", "lora"])
def test_a_layer_in_half_precision_keeps_small_updates(method: str) -> None:
    net = _net(torch.bfloat16)
    exact = _net(torch.float32)
    exact.load_state_dict(net.state_dict())
    adapters = _adapters(exact, method, False, scale=1e-4)
    x = torch.randn(2, 5, 6)
    with torch.no_grad():
        delta = adapters["unet.first"].low_rank()
        assert delta is not None
        change = x @ delta.dense().T
        with Engine({"unet": net}, {"unet.first": adapters["unet.first"]}, {}, RATES):
            # A zero weight shows the adapter's own part, which a dense bf16 W' would round away.
            net.first.weight.zero_()
            assert net.first.bias is not None
            net.first.bias.zero_()
            shown = net.first(x.bfloat16())
    assert (shown.float() - change).norm() / change.norm() < 0.01


@pytest.mark.parametrize("method", ["spectral", "lora"])
def test_the_base_is_untouched_outside_and_unchanged_inside_with_zero_factors(method: str) -> None:
    net = _net(torch.float32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.randn(2, 5, 6)
    plain = net(x)
    adapters = _adapters(net, method, True)
    with Engine({"unet": net}, adapters, {}, RATES):
        assert not torch.equal(net(x), plain)
    assert torch.equal(net(x), plain)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with Engine({"unet": net}, _adapters(net, method, True, scale=0.0), {}, RATES):
        assert torch.equal(net(x), plain)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_loaded_state_continues_bit_for_bit(stop: int) -> None:
    def train(engine: Engine, net: nn.Module, first: int, last: int) -> None:
        for step in range(first, last):
            x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(step))
            with engine:
                engine.begin()
                net(x).square().sum().backward()
                engine.finish(gradient_clip=1.0)

    net = _net(torch.float32)
    torch.manual_seed(1)
    start = _adapters(net, "spectral", True)
    whole = Engine({"unet": net}, _copies(start), {}, RATES)
    train(whole, net, 0, 5)
    half = Engine({"unet": net}, _copies(start), {}, RATES)
    train(half, net, 0, stop)
    resumed = Engine({"unet": net}, _copies(start), {}, RATES)
    resumed.load_state(half.state())
    train(resumed, net, stop, 5)
    assert torch.equal(resumed.flat.vector, whole.flat.vector)


def test_a_state_of_other_trainables_and_an_unknown_layer_are_refused() -> None:
    net = _net(torch.float32)
    adapters = _adapters(net, "spectral", False)
    engine = Engine({"unet": net}, adapters, {}, RATES)
    with pytest.raises(ValueError, match=r"vector is \(\d+,\) in the state"):
        Engine({"unet": net}, _adapters(net, "spectral", True), {}, RATES).load_state(engine.state())
    with pytest.raises(BaseMismatchError, match="no layer unet\\.third"):
        Engine({"unet": net}, {"unet.third": adapters["unet.first"]}, {}, RATES)


def test_a_forward_that_a_layer_had_of_its_own_is_put_back() -> None:
    net = _net(torch.float32)

    def patched(x: Tensor) -> Tensor:
        return nn.Linear.forward(net.first, x) * 2

    # Patching a method of an instance is just what is tested, and what types forbid.
    net.first.forward = patched  # type: ignore[method-assign]
    x = torch.randn(2, 5, 6)
    plain = net(x)
    adapters = _adapters(net, "spectral", False)
    for _ in range(2):
        with Engine({"unet": net}, adapters, {}, RATES):
            assert net.first.forward is not patched
        assert net.first.__dict__["forward"] is patched
        assert "forward" not in net.second.__dict__
    assert torch.equal(net(x), plain)


def _without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without("vector"), "no trainables"),
        (_without("unet.exp_avg"), "lacks unet.exp_avg"),
        (lambda state: state.update({"unet.exp_avg_sq": torch.zeros(3)}), r"unet.exp_avg_sq .*\(3,\)"),
        (lambda state: state.update({"mystery.step": torch.zeros(())}), "mystery.step"),
    ],
)
def test_a_state_that_is_not_whole_is_refused_and_changes_nothing(
    damage: Callable[[dict[str, Tensor]], object], said: str
) -> None:
    net = _net(torch.float32)
    trained = Engine({"unet": net}, _adapters(net, "spectral", True), {}, RATES)
    with trained:
        trained.begin()
        net(torch.randn(2, 5, 6)).square().sum().backward()
        trained.finish()
    state = trained.state()
    damage(state)
    fresh = Engine({"unet": net}, _adapters(net, "spectral", True), {}, RATES)
    before = fresh.state()
    with pytest.raises(ValueError, match=said):
        fresh.load_state(state)
    after = fresh.state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
