"""The adapters of a picture are found by what they hold, and what is not there is named."""

from pathlib import Path

import pytest

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.recorded_adapters import find_adapters
from spectral_diffusion.diffusion.settings import AdapterRecord
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.fusion import FusedAdapter, fuse
from spectral_diffusion.spectrum import ColumnSlot
from tests.diffusion.adapting import random_adapter


@pytest.fixture(scope="module")
def fused(base: Base) -> FusedAdapter:
    one = random_adapter(base, "one", components=("unet", "text_encoder"), seed=1)
    two = random_adapter(base, "two", slot=ColumnSlot(4, 4), seed=2)
    return fuse([one, two], strengths=[1.0, 0.5])


def test_adapters_are_found_by_what_they_hold_whatever_their_files_are_called(tmp_path: Path, fused: FusedAdapter):
    fused.parts[1].adapter.save(tmp_path / "a.safetensors")
    fused.parts[0].adapter.save(tmp_path / "two.safetensors")
    found = find_adapters([AdapterRecord.of(part) for part in fused.parts], [tmp_path])
    assert found is not None
    assert [(part.adapter.name, part.strength) for part in found.parts] == [("one", 1.0), ("two", 0.5)]


def test_a_missing_or_changed_concept_is_named(tmp_path: Path, base: Base, fused: FusedAdapter):
    records = [AdapterRecord.of(part) for part in fused.parts]
    fused.parts[0].adapter.save(tmp_path / "one.safetensors")
    with pytest.raises(InputError, match=r"concept two, .* is not in"):
        find_adapters(records, [tmp_path])
    random_adapter(base, "two", slot=ColumnSlot(4, 4), seed=3).save(tmp_path / "two.safetensors")
    with pytest.raises(InputError, match=r"concept two in .*two\.safetensors has changed"):
        find_adapters(records, [tmp_path / "one.safetensors", tmp_path / "two.safetensors"])
    (tmp_path / "notes.safetensors").write_text("not an adapter")
    with pytest.raises(AdapterFileError, match=r"notes\.safetensors"):
        find_adapters(records, [tmp_path / "notes.safetensors"])


def test_settings_that_name_other_tokens_than_the_concept_has_are_refused_in_words(
    tmp_path: Path, base: Base, fused: FusedAdapter
):
    fused.save(tmp_path / "both.safetensors")
    one, two = (AdapterRecord.of(part) for part in fused.parts)
    for tokens in ((), ("<one>", "<more>")):
        with pytest.raises(InputError, match=rf"{len(tokens)} tokens for the concept one, which has 1; give the PNG"):
            find_adapters([one.model_copy(update={"tokens": tokens}), two], [tmp_path])


def test_a_named_file_that_the_picture_does_not_need_is_not_passed_over(
    tmp_path: Path, base: Base, fused: FusedAdapter
):
    one = AdapterRecord.of(fused.parts[0])
    for part in fused.parts:
        part.adapter.save(tmp_path / f"{part.adapter.name}.safetensors")
    assert find_adapters([one], [tmp_path, tmp_path / "one.safetensors"])
    for records in ([one], []):
        with pytest.raises(InputError, match=r"two\.safetensors holds no concept"):
            find_adapters(records, [tmp_path, tmp_path / "two.safetensors"])
    assert find_adapters([], [tmp_path]) is None
