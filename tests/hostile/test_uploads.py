"""Every hostile picture, archive, adapter and name as an upload: survived, told in words, and nothing else happens."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from spectral_diffusion.diffusion.curation import create_concept, rename_concept
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.intake import AddedPhotographs, add_photographs
from spectral_diffusion.diffusion.library import import_adapter, list_adapters, rename_adapter
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.names import printable
from spectral_diffusion.workspace import Workspace
from tests.hostile import cases_adapters, cases_archives, cases_concepts, cases_images
from tests.hostile.adapter_files import sound
from tests.hostile.case import Case, check_refusal, tree
from tests.hostile.cases_archives import PHOTOGRAPH
from tests.hostile.cases_names import NAMES


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    workspace = Workspace(tmp_path / "home")
    create_concept(workspace, "toy")
    return workspace


def _added(workspace: Workspace, uploads: list[Path], folder: Path) -> AddedPhotographs:
    """Add, and see that nothing but the concept changed and that every answer can be shown."""
    before = tree(folder)
    added = add_photographs(workspace, "toy", uploads)
    assert tree(folder) == before
    assert {path.name for path in workspace.concepts.iterdir()} <= {"toy", ".lock"}
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    for result in added.results:
        for text in (result.upload, result.refused, *result.notes):
            assert printable(text) == text and len(text) < 6000 and str(folder) not in text
    concept = workspace.concepts / "toy"
    assert {path.suffix for path in concept.iterdir()} <= {".png", ".txt", ".toml"}
    assert not any(path.is_symlink() for path in concept.iterdir())
    if added.stored:
        assert len(load_concept(concept).photographs) == len(added.stored)
    return added


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", cases_images.CASES, ids=lambda case: case.name)
def test_a_picture(case: Case, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    upload = case.make(tmp_path / "here")
    (tmp_path / "here" / "sound").write_bytes(PHOTOGRAPH)
    added = _added(workspace, [upload, tmp_path / "here" / "sound"], tmp_path / "here")
    stored = {result.upload: result.stored for result in added.results}
    assert stored["sound"] is not None or stored.get(printable(upload.name)) is not None
    if case.accepted is not None:
        assert case.accepted(load_concept(workspace.concepts / "toy").photographs[0].image)
    else:
        assert added.refused and len(added.stored) == 1


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", cases_archives.CASES, ids=lambda case: case.name)
def test_a_zip(case: Case, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    added = _added(workspace, [case.make(tmp_path / "here")], tmp_path / "here")
    if case.accepted is not None:
        assert added.stored
    elif case.name not in ("51 photographs", "a mask without photograph", "a photograph", *_WITHOUT_SETTINGS):
        assert added.refused and not added.stored


_WITHOUT_SETTINGS = ("settings that are no TOML", "settings of a megabyte")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", cases_concepts.CASES, ids=lambda case: case.name)
def test_the_files_of_a_concept_folder(case: Case, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    folder = case.make(tmp_path / "here")
    try:
        uploads = sorted(folder.iterdir())
    except (OSError, ValueError):
        uploads = [folder]
    _added(workspace, uploads, tmp_path / "here")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", cases_adapters.CASES, ids=lambda case: case.name)
def test_an_adapter(case: Case, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    upload = case.make(tmp_path / "here")
    before = tree(tmp_path / "here")
    if case.accepted is not None:
        imported = import_adapter(workspace, upload)
        assert case.accepted(load_fused(workspace.adapters / imported.file_name))
        (listed,) = list_adapters(workspace)
        assert listed.fault == "" and all(printable(text) == text for text in (*listed.names, *imported.notes))
    else:
        with pytest.raises(InputError) as refusal:
            import_adapter(workspace, upload)
        check_refusal(refusal.value, ())
        assert list_adapters(workspace) == [] and Ledger(workspace.ledger_path).holders() == []
    assert tree(tmp_path / "here") == before and list(Path(tempfile.gettempdir()).iterdir()) == []


def test_no_adapter_that_lies_in_the_folder_hides_another(workspace: Workspace, tmp_path: Path) -> None:
    workspace.adapters.mkdir()
    for number, case in enumerate(cases_adapters.CASES):
        (tmp_path / "here").mkdir()
        with suppress(OSError, ValueError):
            case.make(tmp_path / "here").rename(workspace.adapters / f"{number:04}.safetensors")
        shutil.rmtree(tmp_path / "here")
    (workspace.adapters / "sound.safetensors").write_bytes(sound())
    listed = list_adapters(workspace)
    assert len(listed) > 0.9 * len(cases_adapters.CASES)
    for one in listed:
        for text in (one.fault, one.base_name, *one.names, *one.tokens):
            assert printable(text) == text and str(workspace.root) not in text
    assert listed[-1].names == ("octo",) and listed[-1].fault == ""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_name(name: str, workspace: Workspace, tmp_path: Path) -> None:
    (workspace.adapters).mkdir()
    (workspace.adapters / "a.safetensors").write_bytes(sound())
    create_concept(workspace, "other")
    for door in (
        lambda: create_concept(workspace, name, token="<t>"),
        lambda: rename_concept(workspace, "other", name),
        lambda: rename_adapter(workspace, "a.safetensors", name),
    ):
        try:
            assert door()
        except InputError as error:
            check_refusal(error, ())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "temporary"}
    assert {path.name for path in workspace.root.iterdir()} <= {
        "concepts",
        "adapters",
        "ledger.json",
        ".ledger.json.lock",
    }
    assert len([path for path in workspace.concepts.iterdir() if not path.name.startswith(".")]) in (2, 3)
    assert len([path for path in workspace.adapters.iterdir() if not path.name.startswith(".")]) == 1
