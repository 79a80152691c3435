"""A place to drop files, folders and zips, or to choose them: each is uploaded by itself, and what fails is named."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.images import FILE_LIMIT_BYTES
from spectral_diffusion.names import printable
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import BUTTONS, NODES, told

OFFER_LIMIT = 400
"""So many files at once: fifty photographs with captions and masks, and what lies beside them."""


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded.

    Args:
        path: Where it lies.
        folder: The folder that it was in on the person's machine, or nothing.
    """

    path: Path
    folder: str = ""


@dataclass(frozen=True)
class Offer:
    """What was dropped at once.

    Args:
        uploads: The files that arrived.
        failed: Of the others the name and why.
    """

    uploads: tuple[Upload, ...]
    failed: tuple[tuple[str, str], ...] = ()

    def by_folder(self) -> list[list[Path]]:
        """The files of each folder: what has one name in two folders is two things."""
        folders: dict[str, list[Path]] = {}
        for upload in self.uploads:
            folders.setdefault(upload.folder, []).append(upload.path)
        return list(folders.values())


def drop_zone(
    words: str,
    *,
    accept: Sequence[str],
    has_folders: bool = False,
    limit_bytes: int = FILE_LIMIT_BYTES,
    **options: Any,
) -> gr.HTML:
    """A component to drop files on; its event `offered` is read by `read_offer`.

    It shows that it waits until it is given another value, such as `rested()` or `offered_to(...)`. What it was offered
    to when the files were dropped comes with the event as `about`: until they have arrived a person may look at
    something else.

    Args:
        words: What to drop here.
        accept: Suffixes and kinds that the browser's dialogue offers. Anything can be dropped all the same.
        has_folders: Whether a folder can be chosen.
        limit_bytes: Larger files are not even sent. That of a picture is good for zips of photographs too.
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=0,
        html_template="<div class='drop-zone'></div>",
        css_template=BUTTONS + _CSS,
        js_on_load=NODES + _JS,
        words=words,
        accept=",".join(accept),
        has_folders=has_folders,
        limit_bytes=limit_bytes,
        limit=OFFER_LIMIT,
        **options,
    )


def rested(value: Any) -> int:
    """The value of a drop zone that waits no more."""
    return (value if isinstance(value, int) else 0) + 1


def offered_to(about: str | None) -> dict[str, Any]:
    """The value of a drop zone that waits no more, and whose files from now on are for this."""
    # A value that is the same as before would tell the page nothing.
    return {"about": about, "stamp": time.time_ns()}


def read_offer(desk: Desk, evt: gr.EventData) -> Offer:
    """The files that an event `offered` names, which may come from anybody.

    Raises:
        InputError: It names no files, too many, or what is none of this person's uploads.
    """
    files, failed = told(evt, "files"), told(evt, "failed")
    files, failed = files if isinstance(files, list) else [], failed if isinstance(failed, list) else []
    if not files and not failed:
        raise InputError("no file arrived", "drop files, or choose some")
    if max(len(files), len(failed)) > OFFER_LIMIT:
        raise InputError(f"{len(files)} files came at once", f"upload up to {OFFER_LIMIT} at a time")
    uploads = []
    for item in files:
        item = item if isinstance(item, dict) else {}
        folder = item.get("folder")
        uploads.append(Upload(uploaded(desk, item.get("path")), folder if isinstance(folder, str) else ""))
    return Offer(tuple(uploads), tuple(_failure(item) for item in failed))


def uploaded(desk: Desk, path: Any) -> Path:
    """The file of an upload of this person.

    Args:
        desk: Whose.
        path: As the page gives it, under the key `path`: then the guard has asked whose it is.

    Raises:
        InputError: It is no upload of theirs, or is gone.
    """
    grants = desk.studio.grants
    if isinstance(path, str) and "\0" not in path:
        is_theirs = not desk.studio.has_accounts or grants.allows(desk.user, path)
        place = Path(path)
        if is_theirs and place.is_relative_to(grants.folder) and os.path.realpath(path) == path and place.is_file():
            return place
    raise InputError("an uploaded file cannot be found", "upload it again")


def _failure(item: Any) -> tuple[str, str]:
    item = item if isinstance(item, dict) else {}
    name, why = item.get("name"), item.get("why")
    return printable(str(name or "a file"))[:200], printable(str(why or "it could not be uploaded"))[:300]


# Dropped folders are read by entries, chosen ones come with relative paths; both name the folder of each file.
_JS = """
const zone = element.querySelector('.drop-zone');
const status = make('p', {className: 'status', role: 'status'});
const bar = make('progress', {max: 1, value: 0, hidden: true, 'aria-label': 'Upload'});
const input = (folder) => {
  const node = make('input', {type: 'file', multiple: true, hidden: true, tabIndex: -1, 'aria-hidden': 'true'});
  if (folder) node.webkitdirectory = true; else node.accept = props.accept;
  node.className = folder ? 'folder' : 'files';
  node.addEventListener('change', () => {
    const home = file => file.webkitRelativePath.split('/').slice(0, -1).join('/');
    const list = [...node.files].map(file => ({file, folder: home(file)}));
    node.value = '';
    send(list, about());
  });
  return node;
};
const files = input(false), folder = input(true);
const choices = make('div', {className: 'choices'}, button('Choose files', '', () => files.click()),
  props.has_folders ? button('Choose a folder', '', () => folder.click()) : null);
zone.append(make('p', {textContent: props.words}), choices, bar, status, files, folder);
let busy = false;
const about = () => (props.value || {}).about ?? null;
const say = (text) => { status.textContent = text; };
const amount = (bytes) => `${Math.round(bytes / 2 ** 20)} MB`;
const send = async (list, home) => {
  if (busy) return say('Wait until the others have arrived.');
  const wanted = list.filter(({file}) => !file.name.startsWith('.') && !/^(thumbs.db|desktop.ini)$/i.test(file.name));
  if (!wanted.length) return say('There are no files in that.');
  if (wanted.length > props.limit)
    return say(`Those are ${wanted.length} files. Choose up to ${props.limit} at a time.`);
  busy = true;
  zone.classList.add('busy');
  bar.hidden = false;
  const done = [], failed = [];
  for (const [number, {file, folder}] of wanted.entries()) {
    say(`Uploading ${number + 1} of ${wanted.length}: ${file.name}`);
    bar.value = number / wanted.length;
    if (file.size > props.limit_bytes) {
      const why = `it has ${amount(file.size)}, over the limit of ${amount(props.limit_bytes)}`;
      failed.push({name: file.name, why});
    } else if (file.size === 0) {
      failed.push({name: file.name, why: 'it is empty (0 bytes)'});
    } else {
      try {
        done.push({path: (await upload(file)).path, folder});
      } catch (error) {
        failed.push({name: file.name, why: 'it did not arrive: the studio refused it or cannot be reached'});
      }
    }
  }
  busy = false;
  zone.classList.remove('busy');
  bar.hidden = true;
  say('Reading what arrived.');
  trigger('offered', {files: done, failed, about: home});
};
const all = (reader) => new Promise(resolve => {
  const found = [];
  const next = () => reader.readEntries(
    more => { if (more.length) { found.push(...more); next(); } else resolve(found); }, () => resolve(found));
  next();
});
const inside = async (entry, folder) => {
  if (entry.isFile) {
    return new Promise(resolve => entry.file(file => resolve([{file, folder}]), () => resolve([])));
  }
  const found = [];
  for (const child of await all(entry.createReader())) {
    found.push(...await inside(child, folder ? `${folder}/${entry.name}` : entry.name));
  }
  return found;
};
zone.addEventListener('dragover', event => { event.preventDefault(); zone.classList.add('over'); });
zone.addEventListener('dragleave', () => zone.classList.remove('over'));
zone.addEventListener('drop', async event => {
  event.preventDefault();
  zone.classList.remove('over');
  const home = about();
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry && item.webkitGetAsEntry());
  const plain = [...event.dataTransfer.files].map(file => ({file, folder: ''}));
  if (!entries.some(entry => entry && entry.isDirectory)) return send(plain, home);
  if (!props.has_folders) return say('That is a folder. Choose files.');
  say('Looking through the folder.');
  const found = [];
  for (const entry of entries.filter(Boolean)) found.push(...await inside(entry, ''));
  send(found, home);
});
watch('value', () => { if (!busy) say(''); });
"""

_CSS = """
.drop-zone { border: 2px dashed var(--border-color-primary); border-radius: 10px; padding: 14px; text-align: center;
  background: var(--background-fill-secondary); }
.drop-zone.over { border-color: var(--color-accent); }
.drop-zone p { margin: 0 0 8px; color: var(--body-text-color); overflow-wrap: anywhere; }
.drop-zone .status { color: var(--body-text-color-subdued); font-size: var(--text-sm); margin: 8px 0 0; }
.drop-zone .status:empty { display: none; }
.drop-zone progress { width: 100%; margin-top: 8px; accent-color: var(--color-accent); }
.drop-zone .choices { display: flex; flex-wrap: wrap; gap: 8px; justify-content: center; }
"""
