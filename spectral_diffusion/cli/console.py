"""How the command line speaks: answers on stdout, everything else on stderr, errors as one line with an exit code."""

import contextlib
import errno
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from spectral_diffusion.diffusion.memory import is_out_of_memory
from spectral_diffusion.errors import InputError, SpectralDiffusionError
from spectral_diffusion.names import printable

DONE, FAULT, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
_ISSUES = "run it again with --debug and report what it prints"
# What the system says of a path, a right or a disk: the person can mend that. Its other errors are faults of ours.
_REFUSALS = frozenset((
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG,
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
))  # fmt: skip


def run_safely(command: click.Command, arguments: list[str]) -> int:
    """Run a command; whatever happens ends as one line on stderr and an exit code.

    Args:
        command: The group of verbs.
        arguments: As typed, without the program's name. `--debug` among them shows tracebacks.
    """
    quiet_libraries()
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = command.main(arguments, prog_name="spectral-diffusion", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_INPUT
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        line, code = describe(error)
        click.echo(f"error: {line}" if code != INTERRUPTED else line, err=True)
        return code


def describe(error: BaseException) -> tuple[str, int]:
    """What happened and what to do, in one line, with the exit code."""
    if isinstance(error, SpectralDiffusionError):
        return _one_line(str(error)), WRONG_INPUT
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "spectral-diffusion"
        return _one_line(f"{error.format_message().rstrip('.')}; see {path} --help"), WRONG_INPUT
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message()), WRONG_INPUT
    if is_out_of_memory(error):
        return "there is not enough memory; use a smaller size, batch or count, or another --device", WRONG_INPUT
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = f"{error.filename}: " if error.filename else ""
        return _one_line(f"{where}{error.strerror}; check the path, the space left and your rights"), WRONG_INPUT
    said = str(error).strip()
    return _one_line(f"a fault of ours, {type(error).__name__}{': ' if said else ''}{said[:300]}; {_ISSUES}"), FAULT


def quiet_libraries() -> None:
    """Keep telemetry off and the libraries' own chatter out of the answers; variables already set are left alone."""
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)


def note(text: str) -> None:
    """A remark for people, on stderr."""
    click.echo(printable(text), err=True)


@contextlib.contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """With `--json` nothing but the answer may reach stdout, so what libraries print goes to stderr meanwhile."""
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def answer(as_json: bool, value: Mapping[str, Any], lines: Sequence[str]) -> None:
    """The verb's answer on stdout: one JSON object for machines, or lines for people."""
    if as_json:
        told = json.dumps(value, ensure_ascii=False, allow_nan=False)
    else:
        told = "\n".join(map(printable, "\n".join(lines).split("\n")))
    # Names of files need not be UTF-8; JSON, too, escapes what is not.
    click.echo(told.encode(errors="backslashreplace").decode())


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows as aligned text; columns whose cells all look like numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[index]) for line in [list(head), *cells]) for index in range(len(head))]
    numeric = [
        bool(cells) and all(row[index][:1].isdigit() or row[index][:1] in "-+." for row in cells if row[index])
        for index in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()

    return [line(list(head)), *(line(row) for row in cells)]


def number_after_colon(text: str, option: str) -> tuple[str, float]:
    """Split `FILE[:STRENGTH]` at its last colon; a Windows drive letter or a name with a colon stays in the name.

    Raises:
        InputError: What follows the colon is a number that is not finite.
    """
    name, colon, number = text.rpartition(":")
    if colon and name:
        try:
            value = float(number)
        except ValueError:
            return text, 1.0
        if value != value or abs(value) > 100:
            raise InputError(f"{option} {text}: strength {number} is out of range", "use a number from -100 to 100")
        return name, value
    return text, 1.0


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    # Libraries warn developers; only our own warnings are meant for the person who typed the command.
    if category.__module__.startswith("spectral_diffusion."):
        click.echo(f"warning: {_one_line(str(message))}", err=True)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
