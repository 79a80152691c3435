"""What all tests share: no network, no telemetry, caches of their own, and a base in miniature."""

import os
import tempfile

# Set before any library reads them.
_CACHE = tempfile.TemporaryDirectory(prefix="spectral-diffusion-tests-")
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
    SPECTRAL_DIFFUSION_CACHE=_CACHE.name,
)
os.environ.pop("SPECTRAL_DIFFUSION_HOME", None)

from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# Shared machines stall at times; a deadline would fail laws that hold.
hypothesis.settings.register_profile(
    "laws",
    deadline=None,
    max_examples=25,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("laws")


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the base in miniature, shared by all tests: read it, never write to it."""
    from tests.miniature import make_miniature

    return make_miniature(tmp_path_factory.mktemp("miniature"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that may take longest begin first, so that no process is left alone with one of them at the end."""

    def seconds_allowed(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        return float(mark.args[0]) if mark is not None else 0.0

    items.sort(key=seconds_allowed, reverse=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests of the battery counted and measured, at the end of the run."""
    for report in terminalreporter.getreports("passed"):
        for what, number in report.user_properties:
            terminalreporter.write_line(f"{what}: {number}")
