"""Uploads that become photographs of a concept: each is stored, or refused in words."""

from collections.abc import Callable
from typing import Any

from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.diffusion.intake import add_photographs
from spectral_diffusion.diffusion.wording import concept_name
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio import concept_words
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import in_page_words
from spectral_diffusion.studio.parts.upload_results import Outcome
from spectral_diffusion.studio.parts.uploads import Offer, uploaded


def add_offer(
    desk: Desk, concept: str | None, offer: Offer, progress: Callable[..., Any] | None = None
) -> list[Outcome]:
    """Store what was dropped, each folder by itself; what fails is among the outcomes.

    Args:
        desk: Whose.
        concept: The folder.
        offer: The uploads.
        progress: Told how far it is, as `gr.Progress`.
    """
    found = [Outcome(name, refused=why) for name, why in offer.failed]
    for uploads in offer.by_folder():
        tell = (lambda done, total: progress((done, total), desc="Reading", unit="files")) if progress else None
        try:
            added = add_photographs(desk.workspace, str(concept or ""), uploads, tell)
        except InputError as error:
            found.append(Outcome("all of them" if len(uploads) > 1 else uploads[0].name, refused=in_page_words(error)))
            continue
        found += [Outcome(result.upload, result.stored or "", result.notes, result.refused) for result in added.results]
    return found


def add_photographs_to(desk: Desk, concept: str, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add photographs, zips, captions and masks (of `gradio_client.handle_file`) to a concept, which is made if needed.

    Answers for each upload: name, stored as, notes, and why it is refused.
    """
    if not isinstance(files, list) or not files:
        raise InputError("no file arrived", "send a list of gradio_client.handle_file(path)")
    paths = [uploaded(desk, item.get("path") if isinstance(item, dict) else None) for item in files]
    made = concept_name(str(concept or ""))
    known = [one.folder for one in list_concepts(desk.workspace) if concept == one.folder or made == one.name]
    folder = known[0] if known else concept_words.create(desk, made, "", "", "")
    added = add_photographs(desk.workspace, folder, paths)
    return [
        {"upload": result.upload, "stored": result.stored, "notes": list(result.notes), "refused": result.refused}
        for result in added.results
    ]
