"""The shares of the columns are those of the singular values, and what is kept of them is never trusted blindly."""

import json
from pathlib import Path

import pytest
import torch

from spectral_diffusion.diffusion.base import Base, target_modules
from spectral_diffusion.diffusion.column_energy import column_energy
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.diffusion.targets import flat_weight


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("patterns", [("attention", "feed_forward"), ("attention", "convolution")])
def test_a_share_is_the_columns_squared_singular_values_of_all_weights(base: Base, patterns: tuple[str, ...]) -> None:
    modules = target_modules(base, ("unet",), patterns)
    narrowest = min(min(flat_weight(module).shape) for module in modules.values())
    shares = column_energy(base, modules)
    total = sum(float(flat_weight(module).double().square().sum()) for module in modules.values())
    columns = spectra(base, modules, narrowest)
    expected = sum(spectrum.S.double().square() for spectrum in columns.values()) / total
    torch.testing.assert_close(torch.tensor(shares, dtype=torch.float64), expected, rtol=1e-5, atol=1e-8)
    assert len(shares) == narrowest and list(shares) == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-9


def test_what_is_known_is_not_computed_again_and_other_weights_are_not_mistaken_for_it(base: Base, cache: Path) -> None:
    modules = target_modules(base)
    told: list[int] = []
    first = column_energy(base, modules, lambda done, of: told.append(done))
    assert told == [*range(1, len(modules) + 1)]
    assert column_energy(base, modules, lambda done, of: told.append(done)) == first
    assert len(told) == len(modules)
    convolutions = target_modules(base, ("unet",), ("convolution",))
    before = column_energy(base, convolutions)
    path, module = next(iter(convolutions.items()))
    kept = module.get_parameter("weight").data.clone()
    try:
        module.get_parameter("weight").data.mul_(3)
        assert column_energy(base, convolutions) != before, path
    finally:
        module.get_parameter("weight").data.copy_(kept)
    assert len(list((cache / "spectra").glob("energy-*"))) == 3


@pytest.mark.parametrize(
    "content", ["", "null", "[]", "{}", "[1, 2]", "[" * 100_000, '["a"]', json.dumps([float("nan")] * 32), "\x00"]
)
def test_a_damaged_cache_is_a_miss(base: Base, cache: Path, content: str) -> None:
    modules = target_modules(base)
    sound = column_energy(base, modules)
    (file,) = (cache / "spectra").glob("energy-*")
    file.write_text(content)
    assert column_energy(base, modules) == sound
    assert json.loads(file.read_text()) == list(sound)
