"""The pages that the battery is run against."""

from tests.studio.serving import PageMaker, small_page

PAGES: dict[str, PageMaker] = {"small": small_page}
