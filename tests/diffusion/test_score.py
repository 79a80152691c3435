"""Laws of the scores: cosines of CLIP, means over objects and trials, honest intervals, leaks seen where they are."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.diffusion.score import (
    Box,
    Estimate,
    alignment,
    alignment_of_parts,
    columns,
    leak_matrix,
    likeness_of_photographs,
    plain_prompt,
)
from spectral_diffusion.diffusion.scorer import Scorer, default_scorer, load_scorer
from spectral_diffusion.errors import InputError
from tests.miniature_scorer import make_miniature_scorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return load_scorer(str(make_miniature_scorer(tmp_path_factory.mktemp("clip"))))


def _picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(256, (4, 4, 3), dtype=torch.uint8, generator=generator)
    return Image.fromarray(coarse.numpy()).resize(size, Image.Resampling.NEAREST)


def _side_by_side(*pictures: Image.Image) -> Image.Image:
    wide = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height))
    x = 0
    for picture in pictures:
        wide.paste(picture, (x, 0))
        x += picture.width
    return wide


def test_vectors_have_unit_length_whatever_the_batch(scorer: Scorer) -> None:
    pictures = [_picture(seed, (40, 24)) for seed in range(5)]
    together, one_by_one = scorer.embed_images(pictures), scorer.embed_images(pictures, batch_size=1)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(together, one_by_one)
    torch.testing.assert_close(scorer.embed_texts(["a red dog", "a cat"]).norm(dim=1), torch.ones(2))


def test_nothing_at_the_edge_of_a_wide_picture_is_cut_off(scorer: Scorer) -> None:
    middle, left, other_left = _picture(0), _picture(1), _picture(2)
    vectors = scorer.embed_images([_side_by_side(left, middle, left), _side_by_side(other_left, middle, left)])
    assert float(vectors[0] @ vectors[1]) < 0.9999


def test_a_picture_is_aligned_with_itself_and_with_the_mean_of_its_references(scorer: Scorer) -> None:
    a, b = _picture(1), _picture(2)
    one = alignment(scorer, [a], references=[a]).image
    assert one is not None
    assert one.mean == pytest.approx(1.0, abs=1e-5)
    both = alignment(scorer, [a], references=[a, b])
    vectors = scorer.embed_images([a, b])
    assert both.image is not None
    assert both.image.mean == pytest.approx((1 + float(vectors[0] @ vectors[1])) / 2, abs=1e-5)
    assert both.text is None


def test_text_alignment_reads_tokens_as_class_words(scorer: Scorer) -> None:
    pictures = [_picture(seed) for seed in range(3)]
    asked = alignment(scorer, pictures, "a photo of <spot> on the beach", class_words={"<spot>": "dog"}).text
    cosines = scorer.embed_images(pictures) @ scorer.embed_texts(["a photo of dog on the beach"]).T
    assert asked is not None
    assert asked.mean == pytest.approx(float(cosines.mean()), abs=1e-5)
    assert plain_prompt("<a> and  <b>", {"<b>": "cat"}) == "and cat"


def test_parts_are_cropped_out_and_their_mean_is_taken(scorer: Scorer) -> None:
    a, b, c = _picture(1), _picture(2), _picture(3)
    right = [(box, [reference]) for box, reference in zip(columns(3), (a, b, c), strict=True)]
    swapped = [(box, [reference]) for box, reference in zip(columns(3), (b, a, c), strict=True)]
    pictures = [_side_by_side(a, b, c)]
    in_place = alignment_of_parts(scorer, pictures, "a dog", right).image
    out_of_place = alignment_of_parts(scorer, pictures, "a dog", swapped).image
    assert in_place is not None and out_of_place is not None
    assert in_place.mean == pytest.approx(1.0, abs=1e-5)
    ab = float(torch.prod(scorer.embed_images([a, b]), dim=0).sum())
    assert out_of_place.mean == pytest.approx((2 * ab + 1) / 3, abs=1e-5)


def test_the_leak_matrix_shows_concepts_that_changed_places(scorer: Scorer) -> None:
    a, b, c = _picture(1), _picture(2), _picture(3)
    references = {"a": [a], "b": [b], "c": [c]}
    right = leak_matrix(scorer, [_side_by_side(a, b, c)] * 2, columns(3), references)
    assert [estimate.mean for estimate in right.own] == [1.0, 1.0, 1.0]
    for index in range(3):
        assert right.similarity[index][index] == pytest.approx(1.0, abs=1e-5)
    swapped = leak_matrix(scorer, [_side_by_side(b, a, c)], columns(3), references)
    assert [estimate.mean for estimate in swapped.own] == [0.0, 0.0, 1.0]
    assert swapped.similarity[0][1] == pytest.approx(1.0, abs=1e-5)


def test_photographs_are_compared_with_the_other_ones_of_their_concept_and_with_all_of_another(scorer: Scorer) -> None:
    a, b, c = _picture(1), _picture(2), _picture(3)
    vectors = scorer.embed_images([a, b, c])
    ab, ac, bc = (float(vectors[i] @ vectors[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    found = likeness_of_photographs(scorer, {"two": [a, b], "one": [c]})
    assert found[0][0] == pytest.approx(ab, abs=1e-5), "no photograph is compared with itself"
    assert found[0][1] == found[1][0] == pytest.approx((ac + bc) / 2, abs=1e-5)
    assert found[1][1] is None, "one photograph has no other"


def test_the_score_of_trials_is_the_mean_of_their_means() -> None:
    assert Estimate.of([[0.0, 0.0, 0.0], [1.0]]).mean == 0.5
    assert Estimate.of([[0.0, 0.0, 0.0, 1.0]]).mean == 0.25


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=8), min_size=1, max_size=4),
    st.integers(0, 2**32),
)
def test_an_interval_holds_its_mean_and_is_the_same_for_the_same_seed(trials: list[list[float]], seed: int) -> None:
    estimate = Estimate.of(trials, seed)
    flat = [value for values in trials for value in values]
    assert min(flat) - 1e-9 <= estimate.low <= estimate.high <= max(flat) + 1e-9
    assert estimate.count == len(flat)
    assert estimate == Estimate.of(trials, seed)
    if len(flat) == 1:
        assert estimate.low == estimate.high == pytest.approx(flat[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for seed in range(100):
        estimate = Estimate.of([torch.randn(40, generator=generator).tolist()], seed)
        covered += estimate.low <= 0.0 <= estimate.high
    assert 85 <= covered <= 100


def test_trials_that_differ_widen_the_interval() -> None:
    within = Estimate.of([[0.0, 1.0] * 4])
    between = Estimate.of([[0.0] * 4, [1.0] * 4])
    assert between.high - between.low > within.high - within.low


def test_a_box_is_in_fractions_never_empty_and_keeps_shapes() -> None:
    wide = _side_by_side(_picture(1, (10, 30)), _picture(2, (10, 30)))
    right = Box(0.5, 0.0, 1.0, 1.0).crop(wide)
    assert right.size == (30, 30)
    assert right.crop((10, 0, 20, 30)).tobytes() == _picture(2, (10, 30)).tobytes()
    assert Box(0.5, 0.5, 0.5, 0.5).crop(wide).size == (1, 1)
    assert [(box.left, box.right) for box in columns(4)] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]


def test_a_clip_that_squashes_sees_wide_pictures_as_it_was_trained(tmp_path: Path) -> None:
    folder = make_miniature_scorer(tmp_path, resize_mode="squash")
    squashing = load_scorer(str(folder))
    wide = _side_by_side(_picture(1), _picture(2))
    vectors = squashing.embed_images([wide, wide.resize((32, 32), Image.Resampling.BICUBIC)])
    torch.testing.assert_close(vectors[0], vectors[1], atol=1e-3, rtol=0)


def test_each_base_has_its_scorer() -> None:
    assert default_scorer(toybox=True) == "toybox"
    assert default_scorer(toybox=False) == "ViT-B-32:openai"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nope", "there is no scorer 'nope'"),
        ("ViT-B-32", "names no weights"),
        ("ViT-B-32:openai", "is not on this machine"),
        ("hf-hub:nobody/nothing", "is not on this machine"),
    ],
)
def test_a_scorer_that_cannot_be_had_is_told_in_one_line_with_the_remedy(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=told) as refusal:
        load_scorer(name)
    assert "\n" not in str(refusal.value)
    assert refusal.value.remedy


def test_a_damaged_local_scorer_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_miniature_scorer(tmp_path_factory.mktemp("damaged"))
    (folder / "open_clip_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_scorer(str(folder))


def test_what_cannot_be_compared_is_refused(scorer: Scorer) -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        alignment(scorer, [_picture(0)])
    with pytest.raises(InputError, match="no picture"):
        alignment(scorer, [], "a dog")
    with pytest.raises(InputError, match="trial numbers"):
        alignment(scorer, [_picture(0)], "a dog", trials=[0, 1])
    with pytest.raises(InputError, match="regions"):
        leak_matrix(scorer, [_picture(0)], columns(2), {"a": [_picture(1)]})


def test_pictures_of_different_prompts_are_compared_each_with_its_own(scorer: Scorer) -> None:
    pictures, prompts = [_picture(1), _picture(2)], ["a dog", "a red cat"]
    both = alignment(scorer, pictures, prompts).text
    each = [alignment(scorer, [picture], text).text for picture, text in zip(pictures, prompts, strict=True)]
    assert both is not None and each[0] is not None and each[1] is not None
    assert both.mean == pytest.approx((each[0].mean + each[1].mean) / 2, abs=1e-6)
    with pytest.raises(InputError, match="prompts"):
        alignment(scorer, pictures, ["a dog"])
