"""Concepts as people name them on the command line."""

from pathlib import Path

from spectral_diffusion.workspace import Workspace, sample_concepts


def find_concept(folder: Path, workspace: Workspace) -> Path:
    """The folder itself, else the workspace's or the sample concept of that name."""
    if folder.exists() or len(folder.parts) != 1:
        return folder
    own = workspace.concepts / folder
    if own.is_dir():
        return own
    sample = sample_concepts() / folder
    return sample if sample.is_dir() else folder
