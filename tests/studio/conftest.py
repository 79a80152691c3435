"""Studios that tests of a file share."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import argon2
import httpx
import pytest

from spectral_diffusion.studio import concepts
from spectral_diffusion.studio.guard import accounts
from tests.studio.desks import studio_in
from tests.studio.pages import PAGES
from tests.studio.screens import Screen, screen_of, with_workspace
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


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The concepts screen: building one takes seconds."""
    with closing(studio_in(tmp_path_factory.mktemp("stage") / "work")) as studio:
        yield screen_of(studio, concepts.build)


@pytest.fixture
def screen(stage: Screen, tmp_path: Path) -> Screen:
    """The concepts screen with a workspace of the test's own, in which there is a concept of two photographs."""
    return with_workspace(stage, tmp_path / "work")
