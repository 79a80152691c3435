"""What a concept is called: its name, its token, its class word and its description, to write and to change."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.curation import create_concept, rename_concept, set_settings
from spectral_diffusion.diffusion.gallery import ConceptSummary
from spectral_diffusion.diffusion.wording import DESCRIPTION_LIMIT, concept_name, read_settings
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.shell import Shell

_DESCRIPTION = (
    "What it looks like, in words the base knows; colours and what stands out most first. The token starts from this, "
    "and what words can say then stays with its own thing when several are drawn together."
)


@dataclass(frozen=True)
class Words:
    """The fields, in the order in which events get them."""

    name: gr.Textbox
    token: gr.Textbox
    class_word: gr.Textbox
    description: gr.Textbox

    @property
    def all(self) -> list[Any]:
        """All of them."""
        return [self.name, self.token, self.class_word, self.description]


def build(shell: Shell, prefix: str) -> Words:
    """The fields.

    Args:
        shell: The page.
        prefix: Of their ids.
    """
    with gr.Row():
        name = gr.Textbox(
            label="Name",
            placeholder="my teapot",
            max_length=120,
            min_width=140,
            elem_id=shell.hint(f"{prefix}-name", "Of the concept, its folder and its adapter."),
        )
        token = gr.Textbox(
            label="Token",
            placeholder="<teapot>",
            max_length=42,
            min_width=140,
            elem_id=shell.hint(f"{prefix}-token", "How prompts name it: <teapot>. No other concept has the same."),
        )
        class_word = gr.Textbox(
            label="Class word",
            placeholder="teapot",
            max_length=200,
            min_width=140,
            elem_id=shell.hint(f"{prefix}-class", "What kind of thing it is, in a word that the base knows."),
        )
    description = gr.Textbox(
        label="Description",
        info=_DESCRIPTION,
        placeholder="a round blue teapot with a gold rim",
        lines=2,
        max_lines=4,
        max_length=DESCRIPTION_LIMIT,
        elem_id=shell.hint(f"{prefix}-description", "It decides much about whether colours stay apart when fused."),
    )
    return Words(name, token, class_word, description)


def derived(desk: Desk, name: Any) -> tuple[str, str]:
    """The token and the class word that a name gives; empty where nothing is left of it."""
    with suppress(InputError):
        made = concept_name(str(name or ""))
        # There is no such folder: what its settings would be then comes from the name alone.
        settings = read_settings(desk.workspace.concepts / ".new" / made, made)
        return settings["token"], settings["class_word"]
    return "", ""


def follow(desk: Desk, name: Any, token: Any, class_word: Any, before: Any) -> list[Any]:
    """While a name is written: token and class word follow it, unless a person has written their own.

    Args:
        desk: Whose.
        name, token, class_word: As they stand in the fields.
        before: What the name gave until now.

    Returns:
        Token, class word, and what the name gives now.
    """
    old = before if isinstance(before, list | tuple) and len(before) == 2 else ("", "")
    new = derived(desk, name)
    kept = [
        fresh if not str(field or "").strip() or field == given else field
        for field, given, fresh in zip((token, class_word), old, new, strict=True)
    ]
    return [*kept, list(new)]


def shown(concept: ConceptSummary) -> list[Any]:
    """Values of the fields for a concept there is."""
    hint = "A trained concept keeps its name." if concept.has_adapter else None
    return [
        gr.Textbox(value=concept.name, interactive=not concept.has_adapter, info=hint),
        concept.token,
        concept.class_word,
        concept.description,
    ]


def create(desk: Desk, name: Any, token: Any, class_word: Any, description: Any) -> str:
    """Make a concept of what is written; returns its folder.

    Raises:
        InputError: See `create_concept`.
    """
    if not str(name or "").strip():
        raise InputError("the concept has no name", "write one, such as: my teapot")
    token, class_word, description = (str(value or "") for value in (token, class_word, description))
    return create_concept(desk.workspace, str(name), token=token, class_word=class_word, description=description)


def save(desk: Desk, concept: ConceptSummary, name: Any, token: Any, class_word: Any, description: Any) -> str:
    """Write what is in the fields; returns the concept's folder, which has another name when the concept has.

    Raises:
        InputError: Another name while its training waits or runs; or see `rename_concept` and `set_settings`. Where
            the new name is refused, nothing is changed.
    """
    token, class_word, description = (str(value or "") for value in (token, class_word, description))
    folder = concept.folder
    if str(name or "").strip() != concept.name:
        if concept.name in concepts_in_training(desk):
            # What it makes goes by the name that the concept had when it was queued.
            raise InputError(
                f"{concept.name} is in a training that has not ended, and keeps its name until then",
                "wait for it, or cancel it in Train",
            )
        folder = rename_concept(desk.workspace, folder, str(name or ""))
    try:
        set_settings(desk.workspace, folder, token=token, class_word=class_word, description=description)
    except InputError:
        if folder != concept.folder:
            rename_concept(desk.workspace, folder, concept.folder)
        raise
    return folder
