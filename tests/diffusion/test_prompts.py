"""Concept tokens in prompts: a token stands for its vectors, wherever it is, and for nothing else."""

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spectral_diffusion.diffusion.attach import attach_layers
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.prompts import (
    PromptCutWarning,
    encode_prompts,
    join_layers,
    token_embedding,
    tokenize,
    unknown_tokens,
    word_vectors,
)
from spectral_diffusion.diffusion.targets import cross_attention_paths
from spectral_diffusion.errors import BaseMismatchError, InputError
from tests.miniature import WORDS

LAYERS = 7
words = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def embedding_of(base: Base, word: str) -> Tensor:
    return word_vectors(base, word, 1)


@given(before=words, after=words, word=st.sampled_from(WORDS))
def test_a_token_with_a_words_own_embedding_is_that_word(base: Base, before: str, after: str, word: str):
    spelt = base.pipeline().encode_prompt(f"{before} {word} {after}", "cpu", 1, False)[0]
    with torch.no_grad():
        token = encode_prompts(base, [f"{before} <x> {after}"], {"<x>": embedding_of(base, word)})
    assert torch.equal(token, spelt)


def test_several_vectors_are_as_many_words_and_several_tokens_keep_apart(base: Base):
    tokens = {
        "<one>": torch.cat([embedding_of(base, word) for word in ("red", "dog")]),
        "<two>": torch.cat([embedding_of(base, word) for word in ("sad", "blue", "vase")]),
    }
    prompts = ["a <two> and <one>, <two>", "", "<one>"]
    spelt = ["a sad blue vase and red dog, sad blue vase", "", "red dog"]
    with torch.no_grad():
        assert torch.equal(encode_prompts(base, prompts, tokens), encode_prompts(base, spelt, {}))


def test_prompts_without_tokens_are_those_of_the_pipeline(base: Base):
    prompts = ["a photo of a red dog", "Grüße, <3 and 5 < 7 > 2!"]
    with torch.no_grad():
        own = encode_prompts(base, prompts, {"<x>": torch.zeros(2, 32)})
    for prompt, embeds in zip(prompts, own, strict=True):
        reference = base.pipeline().encode_prompt(prompt, "cpu", 1, False)[0]
        torch.testing.assert_close(embeds[None], reference, rtol=0, atol=1e-6)


def test_a_token_that_begins_another_is_told_from_it(base: Base):
    tokens = {"<a>": embedding_of(base, "dog"), "<a>b>": embedding_of(base, "cat")}
    with torch.no_grad():
        assert torch.equal(encode_prompts(base, ["<a>b> <a>"], tokens), encode_prompts(base, ["cat dog"], {}))


def test_gradients_reach_the_vectors_and_only_those_in_the_prompt(base: Base):
    used = torch.randn(2, 32, requires_grad=True)
    unused = torch.randn(2, 32, requires_grad=True)
    encode_prompts(base, ["a <used> toy"], {"<used>": used, "<unused>": unused}).square().sum().backward()
    assert used.grad is not None
    assert bool((used.grad.abs().sum(1) > 0).all())
    assert unused.grad is None


def test_the_gradient_is_that_of_finite_differences(base: Base):
    vectors = embedding_of(base, "dog").requires_grad_(True)
    weight = torch.randn(77, 32, generator=torch.Generator().manual_seed(0))

    def loss(values: Tensor) -> Tensor:
        return (encode_prompts(base, ["a <x> on the beach"], {"<x>": values})[0] * weight).sum()

    (gradient,) = torch.autograd.grad(loss(vectors), vectors)
    direction = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        step = 1e-3
        slope = (loss(vectors + step * direction) - loss(vectors - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=2e-2, atol=1e-2)


def test_encoding_leaves_no_trace(base: Base):
    size, weight = len(base.tokenizer), token_embedding(base).weight.clone()
    encode_prompts(base, ["a <x>"], {"<x>": torch.randn(3, 32)})
    with pytest.raises(BaseMismatchError):
        encode_prompts(base, ["a <x>"], {"<x>": torch.randn(3, 31)})
    embedding = token_embedding(base)
    assert len(base.tokenizer) == size
    assert torch.equal(embedding.weight, weight)
    assert not embedding._forward_hooks


def test_an_unknown_token_is_refused_with_the_known_ones(base: Base):
    with pytest.raises(InputError, match=r"names <octi>, which no adapter provides; known tokens: <octo>, <dog>"):
        encode_prompts(base, ["<octo> and <octi>"], {"<octo>": torch.zeros(1, 32), "<dog>": torch.zeros(1, 32)})
    with pytest.raises(InputError, match="give the adapter that has it"):
        encode_prompts(base, ["<Octo>"], {})
    assert unknown_tokens("<a> <b> <lora:x:1> <3 a < b > c", ["<a>"]) == ["<b>", "<lora:x:1>"]


def test_a_cut_prompt_warns_with_the_lost_words(base: Base):
    tokens = {"<x>": torch.randn(3, 32)}
    with pytest.warns(PromptCutWarning, match="lost: '<x> vase on the beach'"):
        embeds = encode_prompts(base, ["dog " * 74 + "<x> vase on the beach"], tokens)
    assert embeds.shape == (1, 77, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_prompts(base, ["dog " * 72 + "<x>"], tokens)
    with pytest.raises(InputError, match="characters"):
        encode_prompts(base, ["dog " * 5000], tokens)


def test_places_and_ids_fill_the_text_length(base: Base):
    with pytest.warns(PromptCutWarning):
        tokenized = tokenize(base.tokenizer, ["a <x> dog", "<x>" * 40], {"<x>": 2})
    assert tokenized.input_ids.shape == tokenized.places.shape == (2, 77)
    assert tokenized.places.sum(1).tolist() == [2, 75]
    assert len(tokenized.sources) == 77
    assert tokenized.sources[:2] == (("<x>", 0), ("<x>", 1))
    ends = tokenized.input_ids == base.tokenizer.eos_token_id
    assert not bool((ends & tokenized.places).any())


def test_layer_wise_tokens_give_one_encoding_a_layer(base: Base):
    layered = torch.randn(LAYERS, 2, 32) * 0.1
    plain = torch.randn(1, 32) * 0.1
    prompts = ["a <l> and <p>", "nothing"]
    with torch.no_grad():
        embeds = encode_prompts(base, prompts, {"<l>": layered, "<p>": plain})
        assert embeds.shape == (LAYERS, 2, 77, 32)
        for layer in range(LAYERS):
            alone = encode_prompts(base, prompts, {"<l>": layered[layer], "<p>": plain})
            torch.testing.assert_close(embeds[layer], alone, rtol=0, atol=1e-6)
        assert encode_prompts(base, ["a <p>"], {"<l>": layered, "<p>": plain}).shape == (1, 77, 32)


def test_each_cross_attention_sees_its_own_layer(base: Base):
    embeds = torch.randn(LAYERS, 2, 77, 32)
    latents, timestep = torch.randn(2, 4, 16, 16), torch.tensor(10)
    seen: dict[str, Tensor] = {}

    def look(path: str):
        def hook(module, positional, named):
            seen[path] = named["encoder_hidden_states"]

        return hook

    paths = cross_attention_paths(base.unet)
    with torch.no_grad(), attach_layers(base.unet):
        handles = [base.unet.get_submodule(p).register_forward_pre_hook(look(p), with_kwargs=True) for p in paths]
        base.unet(latents, timestep, encoder_hidden_states=join_layers(embeds))
        for handle in handles:
            handle.remove()
        alike = base.unet(latents, timestep, encoder_hidden_states=join_layers(embeds[:1].expand(LAYERS, -1, -1, -1)))
    with torch.no_grad():
        plain = base.unet(latents, timestep, encoder_hidden_states=embeds[0])
    assert all(torch.equal(seen[path], embeds[layer]) for layer, path in enumerate(paths))
    assert torch.equal(alike.sample, plain.sample)


def test_vectors_of_another_base_are_refused(base: Base):
    with pytest.raises(BaseMismatchError, match="32 wide"):
        encode_prompts(base, ["<x>"], {"<x>": torch.zeros(2, 48)})
    with pytest.raises(BaseMismatchError, match="16 cross-attentions, but this base has 7"):
        encode_prompts(base, ["<x>"], {"<x>": torch.zeros(16, 2, 32)})


def test_class_words_start_a_token_at_their_own_embeddings(base: Base):
    rows = token_embedding(base).weight.detach()

    tokenizer: Any = base.tokenizer

    def own(text: str) -> Tensor:
        return rows[torch.tensor(tokenizer(text, add_special_tokens=False).input_ids)].float()

    assert torch.equal(word_vectors(base, "red dog", 2), own("red dog"))
    torch.testing.assert_close(word_vectors(base, "red dog", 1), own("red dog").mean(0, keepdim=True))
    assert torch.equal(word_vectors(base, "dog", 3), own("dog").expand(3, -1))
    assert torch.equal(word_vectors(base, "red dog", 4), own("red dog").repeat_interleave(2, 0))
    assert torch.equal(word_vectors(base, "red dog"), own("red dog"))
    with pytest.raises(InputError, match="no words to start"):
        word_vectors(base, "  ", 2)
    with pytest.raises(InputError, match="66 tokens long, more than the 32"):
        word_vectors(base, "red dog " * 33)
