"""Laws of waiting: guesses become rare, for names and for addresses, and who guesses cannot make it forget."""

import pytest

from spectral_diffusion.studio.guard.throttle import (
    FORGOTTEN_SECONDS,
    FREE_TRIES_A_NAME,
    FREE_TRIES_AN_ADDRESS,
    KEPT_KEYS,
    LONGEST_WAIT_SECONDS,
    Throttle,
)
from tests.studio.test_sessions import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


def test_the_wait_grows_to_a_minute(throttle: Throttle, clock: Clock) -> None:
    for _ in range(FREE_TRIES_A_NAME):
        assert throttle.begin("ada", "10.0.0.1") == 0
    waits = []
    for _ in range(9):
        wait = throttle.begin("ada", "10.0.0.1")
        waits.append(wait)
        clock.now += wait / 2
        assert throttle.begin("ada", "10.0.0.1") == pytest.approx(wait / 2)
        clock.now += wait / 2
        assert throttle.begin("ada", "10.0.0.1") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60] and max(waits) == LONGEST_WAIT_SECONDS


def test_a_name_waits_wherever_it_is_guessed_from(throttle: Throttle) -> None:
    tries = [throttle.begin("ada", f"10.0.0.{number}") for number in range(20)]
    assert tries.count(0) == FREE_TRIES_A_NAME
    assert throttle.begin("ben", "10.0.0.1") == 0


def test_an_address_waits_whatever_names_it_guesses(throttle: Throttle) -> None:
    tries = [throttle.begin(f"name{number}", "10.0.0.1") for number in range(40)]
    assert tries.count(0) == FREE_TRIES_AN_ADDRESS
    assert throttle.begin("name0", "10.0.0.2") == 0


def test_an_address_of_version_6_is_that_of_its_house(throttle: Throttle) -> None:
    tries = [throttle.begin(f"name{number}", f"2001:db8::{number:x}") for number in range(40)]
    assert tries.count(0) == FREE_TRIES_AN_ADDRESS
    assert throttle.begin("other", "2001:db8:0:1::1") == 0
    for number in range(40):
        throttle.begin(f"mapped{number}", "::ffff:10.0.0.9")
    assert throttle.begin("other", "10.0.0.9") > 0


def test_a_right_password_begins_anew_for_its_name(throttle: Throttle, clock: Clock) -> None:
    for _ in range(10):
        for _ in range(FREE_TRIES_A_NAME - 1):
            assert throttle.begin("ada", "10.0.0.1") == 0
        clock.now += FORGOTTEN_SECONDS + 1
        assert throttle.begin("ada", "10.0.0.1") == 0
        throttle.succeed("ada", "10.0.0.1")


def test_an_account_of_ones_own_does_not_help_to_guess_at_others(throttle: Throttle) -> None:
    guessed = 0
    for number in range(100):
        if throttle.begin(f"name{number}", "10.0.0.1") == 0:
            guessed += 1
        if throttle.begin("mine", "10.0.0.1") == 0:
            throttle.succeed("mine", "10.0.0.1")
    assert guessed <= FREE_TRIES_AN_ADDRESS


def test_many_log_ins_from_one_address_never_wait(throttle: Throttle) -> None:
    for number in range(200):
        assert throttle.begin(f"name{number}", "10.0.0.1") == 0
        throttle.succeed(f"name{number}", "10.0.0.1")


def test_tries_are_forgotten_after_a_while(throttle: Throttle, clock: Clock) -> None:
    while throttle.begin("ada", "10.0.0.1") == 0:
        pass
    clock.now += FORGOTTEN_SECONDS + 1
    assert [throttle.begin("ada", "10.0.0.1") for _ in range(FREE_TRIES_A_NAME)] == [0] * FREE_TRIES_A_NAME


def test_memory_is_bounded(throttle: Throttle) -> None:
    for number in range(KEPT_KEYS):
        throttle.begin("x" * 10_000 + str(number), f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(throttle) <= KEPT_KEYS


@pytest.mark.parametrize("address", ["", "unknown", "x" * 10**6, "fe80::1%eth0", "999.1.1.1"])
def test_an_address_that_is_none_counts_as_one(throttle: Throttle, address: str) -> None:
    tries = [throttle.begin(f"name{number}", address) for number in range(40)]
    assert tries.count(0) == FREE_TRIES_AN_ADDRESS
