import os
from pathlib import Path

import pytest
import torch

from spectral_diffusion.errors import AdapterFileError, InputError, SlotError
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.studio.fusing import KEPT_FUSIONS, Fuser
from tests.adapters.making import make_adapter
from tests.studio.desks import write_adapters


def test_fusing_again_equals_fusing_the_files(tmp_path: Path):
    octo, spot = write_adapters(tmp_path, octo=0, spot=1)
    fuser = Fuser()
    for strengths in ((1.0, 1.0), (0.3, -0.5), (0.0, 2.0)):
        files = list(zip((octo, spot), strengths, strict=True))
        ours, theirs = fuser.fuse(files).fused, fuse_files(files)
        assert ours.modules == theirs.modules
        for module in ours.modules:
            torch.testing.assert_close(ours.dense(module), theirs.dense(module))


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path):
    (path,) = write_adapters(tmp_path, octo=0)
    fuser = Fuser()
    assert fuser.fuse([(path, 1.0)]).fused.parts[0].adapter.slot.start == 0
    make_adapter("octo", 2).save(path)
    os.utime(path, (1, 1))
    assert fuser.fuse([(path, 1.0)]).fused.parts[0].adapter.slot.start == 4


def test_concepts_that_share_columns_are_refused_every_time(tmp_path: Path):
    files = [(path, 1.0) for path in write_adapters(tmp_path, octo=0, spot=0)]
    fuser = Fuser()
    for _ in range(2):
        with pytest.raises(SlotError, match=r"octo .* and spot"):
            fuser.fuse(files)


def test_what_drawing_refuses_fusing_on_the_page_refuses_in_the_same_words(tmp_path: Path):
    octo, spot = write_adapters(tmp_path, octo=0, spot=1)
    for path, scale in ((octo, 1.0), (spot, 0.5)):
        fuse_files([(path, 1.0)], factor_scale=scale).save(tmp_path / f"fused_{path.name}")
    files = [(tmp_path / f"fused_{path.name}", 1.0) for path in (octo, spot)]
    with pytest.raises(InputError) as told:
        fuse_files(files)
    with pytest.raises(InputError) as shown:
        Fuser().fuse(files)
    assert str(shown.value) == str(told.value)


def test_nothing_and_no_adapter_are_refused_in_words(tmp_path: Path):
    with pytest.raises(InputError):
        Fuser().fuse([])
    (tmp_path / "no.safetensors").write_bytes(b"no adapter at all")
    with pytest.raises(AdapterFileError):
        Fuser().fuse([(tmp_path / "no.safetensors", 1.0)])


def test_what_is_kept_has_a_bound(tmp_path: Path):
    fuser = Fuser()
    paths = write_adapters(tmp_path, **{f"c{number}": number % 3 for number in range(KEPT_FUSIONS + 3)})
    for path in paths:
        fuser.fuse([(path, 1.0)])
    assert len(fuser._fusions) == KEPT_FUSIONS
