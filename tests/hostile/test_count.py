"""How many hostile inputs there are, by kind."""

from collections.abc import Callable

from tests.hostile import cases_adapters, cases_archives, cases_concepts, cases_images, cases_names, cases_prompts

COUNTS = {
    "adapter files": len(cases_adapters.CASES),
    "pictures": len(cases_images.CASES),
    "concept folders": len(cases_concepts.CASES),
    "archives": len(cases_archives.CASES),
    "names": len(cases_names.NAMES),
    "settings in pictures": len(cases_prompts.VALUES) + len(cases_prompts.RECORDS) + len(cases_prompts.TEXTS),
    "command lines": len(cases_prompts.COMMANDS),
    "recipes": len(cases_prompts.CONFIGS),
}


def test_the_battery_is_large(record_property: Callable[[str, object], None]) -> None:
    for kind, count in COUNTS.items():
        record_property(f"hostile {kind}", count)
    record_property("hostile inputs", sum(COUNTS.values()))
    assert sum(COUNTS.values()) >= 150 and min(COUNTS.values()) >= 10


def test_every_case_has_a_name_of_its_own() -> None:
    for module in (cases_adapters, cases_images, cases_concepts, cases_archives):
        names = [case.name for case in module.CASES]
        assert len(set(names)) == len(names)
