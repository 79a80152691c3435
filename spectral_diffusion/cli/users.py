"""`spectral-diffusion users`: who may log in to a studio that is served to others."""

import sys
from pathlib import Path

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering
from spectral_diffusion.errors import InputError

_PASSWORD_BYTES = 2**14
_auth = click.option("--auth", metavar="FILE", type=options.PATH, required=True, help="The password file.")
_common = options.together(_auth, options.as_json, options.debug)


@click.group(name="users", short_help="who may log in to the studio", invoke_without_command=True)
@click.option("--auth", metavar="FILE", type=options.PATH, help="The password file.")
@options.as_json
@options.debug
@click.pass_context
def command(context: click.Context, auth: Path | None, as_json: bool) -> None:
    """Keep the file of those who may log in to a studio that others reach. Alone it lists them.

    The studio is started with the same file: `spectral-diffusion ui --auth FILE`. Changes count at once, in a studio
    that runs too: whoever is removed is logged out.
    """
    if context.invoked_subcommand is None:
        if auth is None:
            raise click.UsageError("Missing option '--auth'.", context)
        _list(auth, as_json)
    else:
        # Said before the sub-command it counts for it.
        context.default_map = {name: {"auth": auth, "as_json": as_json} for name in command.commands}


@command.command(name="add", short_help="let somebody in")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of asking for it.")
@_common
def add(name: str, password_stdin: bool, auth: Path, as_json: bool) -> None:
    """Let NAME in. The password is asked for; 8 to 1024 characters."""
    from spectral_diffusion.studio.guard.accounts import add_account, check_name

    check_name(name)
    password = _read_password() if password_stdin else _ask_password()
    with answering(as_json):
        add_account(auth, name, password)
    answer(as_json, {"added": name}, [f"{name}  added"])


@command.command(name="remove", short_help="let somebody out")
@click.argument("name")
@_common
def remove(name: str, auth: Path, as_json: bool) -> None:
    """Let NAME in no longer. Their concepts, adapters and pictures stay in their folder."""
    from spectral_diffusion.studio.guard.accounts import remove_account

    with answering(as_json):
        remove_account(auth, name)
    answer(as_json, {"removed": name}, [f"{name}  removed"])


@command.command(name="list", short_help="who may log in")
@_common
def list_users(auth: Path, as_json: bool) -> None:
    """Who may log in."""
    _list(auth, as_json)


def _list(auth: Path, as_json: bool) -> None:
    from spectral_diffusion.studio.guard.accounts import Accounts

    with answering(as_json):
        names = Accounts(auth).names()
    answer(as_json, {"users": list(names)}, names or ["no accounts"])


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the password", "give it on stdin, with --password-stdin")
    return click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)


def _read_password() -> str:
    content = sys.stdin.buffer.read(_PASSWORD_BYTES + 1)
    if len(content) > _PASSWORD_BYTES:
        raise InputError(f"stdin has more than {_PASSWORD_BYTES:,} bytes", "give one line with the password")
    try:
        # The end of the line is not meant; blanks may be.
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as fault:
        raise InputError("the password on stdin is not UTF-8 text", "give one line of plain text") from fault
