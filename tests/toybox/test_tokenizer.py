"""Laws of the toybox tokenizer."""

import pytest
from transformers import AutoTokenizer, CLIPTokenizer

from spectral_diffusion.toybox import captions, phrases
from spectral_diffusion.toybox.train_tokenizer import ORDINARY_WORDS, build_tokenizer, train_tokenizer, world_words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    train_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_of_the_world_is_one_token(tokenizer):
    assert {"octopus", "striped", "beach", "wearing", "star"} <= world_words()
    assert [word for word in sorted(world_words()) if len(tokenizer.tokenize(word)) != 1] == []


def test_captions_have_no_word_that_the_tokenizer_was_not_told(tokenizer):
    said = {word for text in (*captions.WORDS, *phrases.WORDS) for word in text.split() if word.isalpha()}
    assert said <= world_words()


def test_ordinary_words_are_one_token(tokenizer):
    assert [word for word in ORDINARY_WORDS if len(tokenizer.tokenize(word)) != 1] == []


def test_texts_are_padded_and_cut_to_the_length_of_stable_diffusion(tokenizer):
    for text in ("", "a red dog", "a red dog and " * 60):
        ids = tokenizer(text, padding="max_length", truncation=True).input_ids
        assert len(ids) == tokenizer.model_max_length == 77
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id


def test_the_end_is_the_highest_id_and_pads(tokenizer):
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == len(tokenizer) - 1


def test_any_text_is_encoded_without_unknown_tokens(tokenizer):
    for text in ("xylophone", "naïve Ωmega", "4k, 8K!", "雪の中"):
        ids = tokenizer(text).input_ids[1:-1]
        assert ids
        assert tokenizer.eos_token_id not in ids


def test_case_does_not_matter(tokenizer):
    assert tokenizer("A Red DOG").input_ids == tokenizer("a red dog").input_ids


def test_the_generic_reader_finds_the_same_tokenizer(folder, tokenizer):
    text = "a happy striped green octopus wearing a hat, on the beach"
    assert AutoTokenizer.from_pretrained(folder)(text).input_ids == tokenizer(text).input_ids


def test_the_same_words_give_the_same_tokenizer():
    words = ["octopus", "tortoise", "beach"]
    assert build_tokenizer(words).get_vocab() == build_tokenizer(reversed(words)).get_vocab()
