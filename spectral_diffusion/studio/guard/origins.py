"""Under which names the studio answers, and whose pages may speak to it."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from spectral_diffusion.errors import InputError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]{1,300})")
_PORTS = {"http": 80, "https": 443}
_EVERY_ADDRESS = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class Hosts:
    """The names and addresses in `Host` headers that mean this studio.

    A page of a stranger whose name was made to lead here (DNS rebinding) has the stranger's name in its requests.

    Args:
        names: In lower case, addresses of version 6 without brackets.
    """

    names: frozenset[str]

    @classmethod
    def of(cls, bound: str, allowed: Iterable[str] = ()) -> "Hosts":
        """The names of a studio.

        Args:
            bound: The address or name it is bound to. One that others reach has this machine's own names and addresses.
            allowed: Further names: that of a proxy, or of the machine in a network.

        Raises:
            InputError: One of those is no name of a machine.
        """
        names = set(LOOPBACK_NAMES)
        if not is_loopback(bound):
            names |= _own_names()
            if bound not in _EVERY_ADDRESS:
                names.add(_plain(bound))
        for name in allowed:
            parted = split_host(name if ":" not in name or name.startswith("[") else f"[{name}]")
            if parted is None or parted[1] is not None:
                raise InputError(
                    f"{name!r} is no name of a machine", "give one without scheme and port: studio.example"
                )
            names.add(parted[0])
        return cls(frozenset(names))

    def allow(self, host: str) -> bool:
        """Whether a `Host` header means this studio."""
        parted = split_host(host)
        return parted is not None and parted[0] in self.names


def split_host(host: str) -> tuple[str, int | None] | None:
    """Name and port of a `Host` header; None if it is none."""
    found = _ADDRESS.fullmatch(host)
    if found is None:
        return None
    six, name, port = found.groups()
    return _plain(six or name), int(port) if port else None


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page that says it is from `origin` was loaded from where the `Host` header says."""
    found = _ORIGIN.fullmatch(origin)
    theirs, ours = found and split_host(found[2]), split_host(host)
    if not found or not theirs or not ours or theirs[0] != ours[0]:
        return False
    # Whether this studio is reached by https only its proxy knows: a port that goes without saying is that of either.
    usual = _PORTS[found[1]]
    return (theirs[1] or usual) == (ours[1] or usual)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, has_accounts: bool, behind_proxy: bool = False, allowed: Iterable[str] = ()) -> None:
    """Refuse to let everybody in: only on this machine nobody needs to log in.

    Args:
        host: To bind to.
        has_accounts: Whether people log in.
        behind_proxy: Whether a proxy brings the requests of others.
        allowed: Further names that requests may come by.

    Raises:
        InputError: Others could use the studio without logging in.
    """
    if has_accounts:
        return
    open_to = None
    if not is_loopback(host):
        open_to = f"--host {host}"
    elif behind_proxy:
        open_to = "--behind-proxy"
    elif strange := [name for name in allowed if not is_loopback(name)]:
        open_to = f"--allowed-host {strange[0]}"
    if open_to:
        raise InputError(
            f"{open_to} would open this studio to everybody who reaches this machine",
            "make accounts (spectral-diffusion users add NAME --auth FILE) and start with --auth FILE",
        )


def _plain(name: str) -> str:
    name = name.strip("[]").lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _own_names() -> set[str]:
    names = {socket.gethostname().lower()}
    names.add(f"{socket.gethostname().partition('.')[0].lower()}.local")
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                names.add(_plain(address.address.partition("%")[0]))
    return names
