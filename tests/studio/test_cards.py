from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.parts.cards import STRENGTH_LIMIT, Card, Ticked, ticked

_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "on", "strength"]), inner),
    max_leaves=8,
)


def test_only_cards_that_are_on_are_ticked():
    value = [Card("a", "A", on=True, strength=0.5).value(), Card("b", "B").value()]
    assert ticked(value) == [Ticked("a", 0.5)]


@pytest.mark.parametrize("strength", [STRENGTH_LIMIT + 0.01, float("nan"), float("inf"), "1", None, [1]])
def test_a_strength_that_no_slider_gives_is_refused(strength: Any):
    with pytest.raises(InputError, match="strength"):
        ticked([{"id": "a", "on": True, "strength": strength}])


@given(_JUNK)
def test_whatever_is_sent_gives_ticks_or_words(value: Any):
    try:
        found = ticked(value)
    except InputError:
        return
    assert all(isinstance(item.id, str) and abs(item.strength) <= STRENGTH_LIMIT for item in found)
