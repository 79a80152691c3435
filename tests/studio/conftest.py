"""Studios that tests of a file share."""

from collections.abc import Iterator

import argon2
import httpx
import pytest

from spectral_diffusion.studio.guard import accounts
from tests.studio.pages import PAGES
from tests.studio.serving import Served, served, small_page, uploaded


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Passwords of tests need not be kept from anybody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        yield


@pytest.fixture(scope="module", params=sorted(PAGES))
def anywhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("battery"), PAGES[request.param]) as studio:
        yield studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("small"), small_page) as studio:
        yield studio


@pytest.fixture(scope="module")
def ada(studio: Served) -> httpx.Client:
    return studio.client("ada")


@pytest.fixture(scope="module")
def ben(studio: Served) -> httpx.Client:
    return studio.client("ben")


@pytest.fixture(scope="module")
def note(ada: httpx.Client) -> str:
    """A file of Ada's."""
    return uploaded(ada)
