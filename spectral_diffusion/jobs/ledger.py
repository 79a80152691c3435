"""The ledger of a store: a file in the workspace, or one elsewhere that the queue's database guards."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spectral_diffusion.adapters import METHODS, Adapter, holds_columns
from spectral_diffusion.adapters.summary import read_summary
from spectral_diffusion.diffusion.checkpoints import FOLDER, read_claim
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.specs import Spec, TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.workspace import Workspace


class _RemoteLedger(Ledger):
    """A ledger in a place without file locks: it is fetched, changed and sent back while the database holds a lock."""

    def __init__(self, store: Store, database: Database, here: Path, name: str) -> None:
        super().__init__(here / "ledger.json")
        self._store, self._database, self._name = store, database, name

    def holders(self, base: str | None = None) -> list[Claim]:
        """All claims, as they are there now."""
        self._fetch()
        return super().holders(base)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._database.reached(), self._database.locked(self._name):
            self._fetch()
            before = self.path.read_bytes() if self.path.exists() else None
            yield
            after = self.path.read_bytes() if self.path.exists() else None
            if after is not None and after != before:
                self._store.write(self._name, after)

    def _fetch(self) -> None:
        content = self._store.read(self._name)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(content)


def ledger_of(store: Store, database: Database, scratch: Path, home: str = "") -> Ledger:
    """Who holds which columns, for all that share a workspace.

    Args:
        store: Where the ledger is.
        database: Guards it where the store is no folder.
        scratch: A folder of this machine for its copy.
        home: The workspace's folder in the store.
    """
    if store.folder is not None:
        return Ledger(Workspace(store.folder / home).ledger_path)
    return _RemoteLedger(store, database, scratch, Workspace(Path(home)).ledger_path.as_posix())


def release_vain(
    spec: Spec,
    folder: JobFolder,
    database: Database,
    *,
    in_training: Collection[str] = (),
    half_trained_only: bool = False,
) -> None:
    """Free the columns that a cancelled training holds without having brought an adapter to its place.

    Who trained a concept before keeps what that adapter has. A retry takes the same columns again if they are free.

    Args:
        spec: The job.
        folder: Its files.
        database: The queue's.
        in_training: Names of concepts that other jobs train: they keep their columns.
        half_trained_only: Free only what the job's own files say to be its own, see `claim_kept`: a job that ended long
            ago does not undo what was reserved since.

    Raises:
        InputError: The ledger cannot be read or written.
    """
    if spec.kind != "train" or not _claims(spec):
        return
    ledger = ledger_of(folder.store, database, folder.path, spec.home)
    for name in (concept.name for concept in spec.concepts):
        finished = _claim_of(folder.store, f"{spec.out}/{name}.safetensors", folder.path)
        kept = claim_kept(folder, name)
        if name in in_training or (half_trained_only and kept is None):
            continue
        # Who ended before the first checkpoint tells by what was trained before which base it was.
        known = kept or finished
        if known is None:
            continue
        held = next(
            (claim for claim in ledger.holders() if claim.concept == name and claim.on_base(known.fingerprints)), None
        )
        if held is None or (kept is not None and held.slot != kept.slot):
            continue
        if finished is None or finished.slot != held.slot:
            ledger.give_back(name, known.fingerprints, finished)


def claim_kept(folder: JobFolder, name: str) -> Claim | None:
    """The columns that a job has of a concept, if any: of its checkpoint, or of its adapter that is not at its place.

    Of several concepts the first may be done when the next one is cancelled or fails.
    """
    with suppress(InputError):
        return read_claim(folder.work / FOLDER / f"{name}.safetensors")
    with suppress(InputError):
        (part,) = read_summary(folder.work / f"{name}.safetensors")
        return Claim.of_part(part)
    return None


def _claims(spec: TrainSpec) -> bool:
    """Whether a training holds columns at all; what its concepts hold otherwise is not its own to free."""
    training = spec.config.get("training")
    method = training.get("method") if isinstance(training, dict) else None
    return not isinstance(method, str) or method not in METHODS or holds_columns(method)


def _claim_of(store: Store, name: str, scratch: Path) -> Claim | None:
    """What a finished adapter in the store has, if there is one."""
    content = store.read(name)
    if content is None:
        return None
    path = scratch / ".finished.safetensors"
    try:
        path.write_bytes(content)
        return Claim.of(Adapter.load(path))
    except InputError:
        return None
    finally:
        path.unlink(missing_ok=True)
