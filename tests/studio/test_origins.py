"""Laws of names and exposure: the studio answers by its own names, and is not served to others without accounts."""

import socket

import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard.origins import Hosts, check_exposure, is_loopback, is_same_origin, split_host


def test_a_studio_on_this_machine_has_its_names_only() -> None:
    hosts = Hosts.of("127.0.0.1")
    assert hosts.names == {"localhost", "127.0.0.1", "::1"}
    for host in (
        "localhost",
        "localhost:7860",
        "LOCALHOST",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]:7860",
    ):
        assert hosts.allow(host), host
    for host in (
        "example.com",
        socket.gethostname() + ".evil",
        "127.0.0.1.",
        "127.1",
        "::1",
        "localhost:",
        "localhost:x",
        "",
    ):
        assert hosts.allow(host) == (host == "127.0.0.1."), host


def test_a_served_studio_has_the_machines_names_and_those_that_are_allowed() -> None:
    hosts = Hosts.of("0.0.0.0", ["Studio.Example", "10.1.2.3", "2001:db8::1"])
    assert hosts.allow(f"{socket.gethostname()}:7860") and hosts.allow("127.0.0.1")
    assert hosts.allow("studio.example:443") and hosts.allow("10.1.2.3") and hosts.allow("[2001:db8::1]:1")
    assert not hosts.allow("evil.example") and not hosts.allow("0.0.0.0") and not hosts.allow("10.9.9.9")
    assert Hosts.of("192.0.2.7").allow("192.0.2.7:1")


@pytest.mark.parametrize(
    "name", ["*", "http://studio.example", "studio.example:80", "a b", "", "a/b", "*.example", "[::1"]
)
def test_an_allowed_name_is_a_name(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a machine"):
        Hosts.of("0.0.0.0", [name])


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:7860", "localhost:7860", True), ("http://LOCALHOST:7860", "localhost:7860", True),
        ("http://studio.example", "studio.example", True), ("https://studio.example", "studio.example", True),
        ("https://studio.example", "studio.example:443", True), ("http://studio.example:80", "studio.example", True),
        ("http://[::1]:7860", "[::1]:7860", True), ("http://localhost:7861", "localhost:7860", False),
        ("http://localhost", "localhost:7860", False), ("http://127.0.0.1:7860", "localhost:7860", False),
        ("https://studio.example", "studio.example:80", False), ("null", "localhost", False), ("", "localhost", False),
        ("http://localhost:7860/x", "localhost:7860", False), ("http://a@localhost:7860", "localhost:7860", False),
        ("ftp://localhost", "localhost", False), ("http://localhost http://evil", "localhost", False),
    ],
)  # fmt: skip
def test_a_page_is_of_the_same_origin_or_not(origin: str, host: str, same: bool) -> None:
    assert is_same_origin(origin, host) is same


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "10.0.0.1", "localhost.example", "example.com")))
    assert split_host("a" * 300) is None


def test_nothing_is_served_to_others_without_accounts() -> None:
    for arguments in [("0.0.0.0", False), ("::", False), ("", False), ("10.0.0.1", False), ("studio.example", False),
                      ("127.0.0.1", False, True), ("127.0.0.1", False, False, ["studio.example"])]:  # fmt: skip
        with pytest.raises(InputError, match=r"to everybody who reaches this machine.*users add"):
            check_exposure(*arguments)
    check_exposure("127.0.0.1", False)
    check_exposure("localhost", False, False, ["localhost"])
    check_exposure("0.0.0.0", True, True, ["studio.example"])
