"""A concept made of a toy: what it looks like, and the words for it."""

from dataclasses import dataclass

from spectral_diffusion.toybox.toy import Toy


@dataclass(frozen=True)
class SampleConcept:
    """A toy with the token that stands for it in prompts.

    Args:
        token: As written in a prompt, with its angle brackets.
        description: What it looks like, in words.
        toy: What it looks like; held-out marks make it new to the base.
    """

    token: str
    description: str
    toy: Toy
