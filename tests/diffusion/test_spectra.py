"""The cache of singular columns: a hit equals a fresh start, and no cache file can do harm."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spectral_diffusion.diffusion import spectra as spectra_module
from spectral_diffusion.diffusion.base import Base, load_base, target_modules
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.diffusion.targets import flat_weight
from spectral_diffusion.errors import SlotError
from spectral_diffusion.spectrum import Spectrum, decompose


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path))
    return tmp_path / "spectra"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the weights that were decomposed."""
    shapes: list[tuple[int, ...]] = []

    def counted(weight: torch.Tensor, columns: int) -> Spectrum:
        shapes.append(tuple(weight.shape))
        return decompose(weight, columns)

    monkeypatch.setattr(spectra_module, "decompose", counted)
    return shapes


def same(one: dict[str, Spectrum], other: dict[str, Spectrum]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(a, b) for path in one for a, b in zip(one[path], other[path], strict=True)
    )


def some(base: Base) -> dict[str, torch.nn.Module]:
    return dict(list(target_modules(base, ("unet", "text_encoder")).items())[::12])


def test_a_hit_equals_a_fresh_start_and_computes_nothing(base: Base, cache: Path, computed: list):
    modules = some(base)
    fresh = spectra(base, modules, 8)
    assert len(computed) == len(modules)
    assert same(spectra(base, modules, 8), fresh)
    assert len(computed) == len(modules)


def test_columns_are_those_of_the_weight(base: Base, cache: Path):
    for path, (U, S, Vh) in spectra(base, some(base), 32).items():
        singular_values = torch.linalg.svdvals(flat_weight(some(base)[path]))
        torch.testing.assert_close(S, singular_values[:32], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(U.T @ flat_weight(some(base)[path]), S[:, None] * Vh, rtol=1e-4, atol=1e-5)


def test_the_next_slots_columns_are_a_hit(base: Base, cache: Path, computed: list):
    modules = some(base)
    first = spectra(base, modules, 4)
    second = spectra(base, modules, 8)
    assert len(computed) == len(modules)
    assert all(torch.equal(second[path].U[:, :4], first[path].U) for path in modules)


def test_other_targets_join_the_cache_without_evicting_it(base: Base, cache: Path, computed: list):
    attention = dict(list(target_modules(base, patterns=("attention",)).items())[:3])
    feed_forward = dict(list(target_modules(base, patterns=("feed_forward",)).items())[:2])
    for modules in (attention, feed_forward, attention, feed_forward | attention):
        spectra(base, modules, 4)
    assert len(computed) == 5


def damage_nothing_left(file: Path) -> None:
    file.write_bytes(b"")


def damage_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def damage_zeros(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\0" * (len(content) - len(content) // 2))


def damage_nan(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))


def damage_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_cut, damage_zeros, damage_nan, damage_folder], ids=lambda d: d.__name__
)
def test_a_damaged_cache_is_rebuilt(base: Base, cache: Path, damage: Callable[[Path], None]):
    modules = some(base)
    fresh = spectra(base, modules, 8)
    files = list(cache.glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        damage(file)
    assert same(spectra(base, modules, 8), fresh)


def test_a_cache_that_cannot_be_written_costs_only_time(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path / "file"))
    assert len(spectra(base, some(base), 4)) == len(some(base))


def test_convolutions_are_told_apart_by_their_own_values(miniature: Path, cache: Path, computed: list):
    base = load_base(miniature)
    modules = dict(list(target_modules(base, patterns=("convolution",)).items())[:1])
    first = spectra(base, modules, 4)
    module = next(iter(modules.values()))
    with torch.no_grad():
        module.get_parameter("weight").mul_(2)
    doubled = spectra(base, modules, 4)
    assert len(computed) == 2
    path = next(iter(modules))
    torch.testing.assert_close(doubled[path].S, 2 * first[path].S)
    assert first[path].Vh.shape == (4, flat_weight(module).shape[1])


def test_two_at_once_both_succeed(base: Base, cache: Path):
    modules = some(base)
    results: list[dict[str, Spectrum]] = []
    threads = [threading.Thread(target=lambda: results.append(spectra(base, modules, 8))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert same(results[0], results[1])
    assert same(spectra(base, modules, 8), results[0])
    assert not [file for file in cache.iterdir() if file.suffix != ".safetensors" or file.name.startswith(".")]


def test_more_columns_than_a_weight_has_are_refused(base: Base, cache: Path):
    with pytest.raises(SlotError, match="has 32"):
        spectra(base, target_modules(base), 33)
    with pytest.raises(SlotError, match="up to 0"):
        spectra(base, target_modules(base), 0)
