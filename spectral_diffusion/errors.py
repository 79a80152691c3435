"""What can go wrong, in words for people.

Every error says what happened, with the values, and then what to do about it. The command line prints that as one line
and ends with exit code 2; a library user catches one class.
"""

from spectral_diffusion.names import printable


class SpectralDiffusionError(Exception):
    """The root of everything this package raises on purpose.

    Args:
        what: What happened, with the values that matter. No full stop at the end.
        remedy: What to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        # What a file of a stranger is called or holds may be in there, and goes to terminals and pages.
        what, remedy = (printable(" ".join(text.splitlines())) for text in (what, remedy))
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


class InputError(SpectralDiffusionError):
    """What the user gave cannot be used: a file, a folder, a number, a name."""


class DiskFullError(InputError):
    """A file could not be written because the disk, the quota or the largest size of a file is used up.

    What was there before is as it was: free some space and go on.
    """


class AdapterFileError(InputError):
    """A file is not a readable adapter: damaged, foreign, too large, or with values that are not finite."""


class BaseMismatchError(InputError):
    """An adapter was made for another base model than the one it is used with."""


class UnreachableError(InputError):
    """The jobs' database does not answer, or refuses: what is asked of it may be there all the same."""


class SlotError(InputError):
    """A column slot is taken, out of range, overlapping, or no slot is left."""


class TrainingError(SpectralDiffusionError):
    """Training had to stop, for example at a loss that is not finite; the last good checkpoint is kept."""
