"""Prompts with concept tokens, turned into the embeddings that the denoiser reads.

A concept token such as `<octo>` is no word of the tokenizer: it stands for one or more trained vectors. The text around
it is tokenised as ever, the vectors take their places in the sequence, and a hook puts them where the text encoder
looks up its embeddings. Neither the tokenizer nor the text encoder changes, and gradients reach the vectors.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.targets import cross_attention_paths
from spectral_diffusion.errors import BaseMismatchError, InputError

ConceptTokens = Mapping[str, Tensor]
TOKEN = re.compile(r"<[^<>|\s]{1,100}>")
PROMPT_LIMIT = 10_000
VECTORS_LIMIT = 32


class PromptCutWarning(UserWarning):
    """A prompt is longer than the text encoder reads; the message holds the words that were lost."""


@dataclass(frozen=True)
class TokenizedPrompts:
    """Prompts as ids, with the places that concept vectors take.

    Args:
        input_ids: (B, length) int64, with a harmless id where vectors go.
        places: (B, length) bool: where vectors go.
        sources: For each place in reading order, the token and the index of its vector.
    """

    input_ids: Tensor
    places: Tensor
    sources: tuple[tuple[str, int], ...]


def encode_prompts(base: Base, prompts: Sequence[str], tokens: ConceptTokens) -> Tensor:
    """The embeddings of prompts, differentiable with respect to the token vectors and the text encoder.

    Args:
        base: The model; its text encoder may have adapters attached.
        prompts: Any number; each is read to 77 positions and padded.
        tokens: Vectors by token: (vectors, dim), or (layers, vectors, dim) for layer-wise tokens.

    Returns:
        (B, 77, dim) in the base's dtype; (layers, B, 77, dim) when a prompt holds a layer-wise token.

    Raises:
        InputError: A prompt names a token that nothing provides, or is absurdly long.
        BaseMismatchError: Vectors of another width or number of layers than the base has.

    Warns:
        PromptCutWarning: A prompt is longer than the text encoder reads.
    """
    tokenized = tokenize(
        base.tokenizer,
        prompts,
        {token: vectors.shape[-2] for token, vectors in tokens.items()},
        length=base.text_length,
    )
    return encode(base, tokenized, tokens)


def tokenize(
    tokenizer: CLIPTokenizer, prompts: Sequence[str], vector_counts: Mapping[str, int], *, length: int = 77
) -> TokenizedPrompts:
    """Prompts to ids, each concept token to as many places as it has vectors.

    Args:
        tokenizer: The base's own; read only.
        prompts: The texts.
        vector_counts: Number of vectors by token.
        length: Positions of a prompt, with its first and last token.

    Raises, Warns: as `encode_prompts`.
    """
    # Any id will do where a vector goes, but the text encoder looks for the first end token to pool.
    bos, eos, pad = _special_ids(tokenizer)
    filler = next(number for number in range(4) if number not in (bos, eos, pad))
    ids: list[list[int]] = []
    sources: list[tuple[str, int]] = []
    places = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        items = _items(tokenizer, prompt, vector_counts)
        kept, lost = items[: length - 2], items[length - 2 :]
        if lost:
            warnings.warn(
                PromptCutWarning(f"the prompt is longer than {length} tokens; lost: {_text(tokenizer, lost)!r}"),
                stacklevel=3,
            )
        line = [bos]
        for item in kept:
            if isinstance(item, tuple):
                places[row, len(line)] = True
                sources.append(item)
            line.append(filler if isinstance(item, tuple) else item)
        line.append(eos)
        ids.append(line + [pad] * (length - len(line)))
    return TokenizedPrompts(torch.tensor(ids, dtype=torch.int64), places, tuple(sources))


def encode(base: Base, tokenized: TokenizedPrompts, tokens: ConceptTokens) -> Tensor:
    """As `encode_prompts`, for prompts that are tokenised already, as a training loop has them."""
    used = {token for token, _ in tokenized.sources}
    layers = _check_vectors(base, {token: tokens[token] for token in sorted(used)})
    input_ids = tokenized.input_ids.to(base.device)
    if not used:
        return base.text_encoder(input_ids)[0]
    with _rows_replaced(
        token_embedding(base), tokenized.places.repeat(layers or 1, 1), _rows(tokenized, tokens, layers)
    ):
        embeds: Tensor = base.text_encoder(input_ids.repeat(layers or 1, 1))[0]
    return embeds if layers is None else embeds.unflatten(0, (layers, -1))


def join_layers(embeds: Tensor) -> Tensor:
    """(layers, B, length, dim) as (B, layers * length, dim): what a denoiser with `attach_layers` takes."""
    return embeds.transpose(0, 1).flatten(1, 2)


def word_vectors(base: Base, words: str, count: int = 0) -> Tensor:
    """Vectors to start a concept token from: the embeddings of words.

    As many vectors as the words have tokens are their own embeddings; fewer are means of neighbours, more repeat them.

    Args:
        base: The model.
        words: Such as `octopus` or `white dog with a red scarf`.
        count: Number of vectors; 0 for as many as the words have tokens.

    Returns:
        (count, dim), float32.

    Raises:
        InputError: There are no words, or too many for a prompt to hold besides others.
    """
    ids = _word_ids(base.tokenizer, words)
    if not ids:
        raise InputError("there are no words to start a concept from", "name what it is, such as octopus")
    count = count or len(ids)
    if count > VECTORS_LIMIT:
        raise InputError(
            f"'{words}' is {count} tokens long, more than the {VECTORS_LIMIT} that a concept may take of a prompt",
            "describe it in fewer words",
        )
    rows = token_embedding(base).weight.detach()[torch.tensor(ids, device=base.device)]
    return nn.functional.adaptive_avg_pool1d(rows.float().T, count).T.contiguous()


def token_embedding(base: Base) -> nn.Embedding:
    """Where the text encoder looks up its tokens' embeddings."""
    embedding: Any = base.text_encoder.get_input_embeddings()
    return embedding


def unknown_tokens(prompt: str, known: Sequence[str]) -> list[str]:
    """Texts in a prompt that look like concept tokens but are none of the known ones."""
    return TOKEN.findall(" ".join(_split(prompt, known)[::2]))


def _split(prompt: str, tokens: Sequence[str]) -> list[str]:
    """Text, token, text, token, ..., text. Longer tokens first, in case one begins with another."""
    if not tokens:
        return [prompt]
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.split(f"({pattern})", prompt)


def _items(tokenizer: CLIPTokenizer, prompt: str, vector_counts: Mapping[str, int]) -> list[int | tuple[str, int]]:
    if len(prompt) > PROMPT_LIMIT:
        raise InputError(f"the prompt has {len(prompt)} characters", "write at most 77 words; more are not read")
    unknown = unknown_tokens(prompt, list(vector_counts))
    if unknown:
        known = ", ".join(vector_counts)
        raise InputError(
            f"the prompt names {unknown[0]}, which no adapter provides",
            f"known tokens: {known}" if known else "give the adapter that has it, or leave it out",
        )
    items: list[int | tuple[str, int]] = []
    for index, piece in enumerate(_split(prompt, list(vector_counts))):
        if index % 2:
            items.extend((piece, vector) for vector in range(vector_counts[piece]))
        else:
            items.extend(_word_ids(tokenizer, piece))
    return items


def _word_ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    encoded: Any = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)
    return list(encoded.input_ids)


def _special_ids(tokenizer: Any) -> tuple[int, int, int]:
    return tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id


def _text(tokenizer: CLIPTokenizer, items: Sequence[int | tuple[str, int]]) -> str:
    parts: list[str] = []
    run: list[int] = []
    for item in [*items, ("", 0)]:
        if not isinstance(item, tuple):
            run.append(item)
            continue
        if run:
            parts.append(str(tokenizer.decode(run)).strip())
            run = []
        if not parts or parts[-1] != item[0]:
            parts.append(item[0])
    return " ".join(part for part in parts if part)


def _check_vectors(base: Base, tokens: ConceptTokens) -> int | None:
    """The number of layers if any of these tokens is layer-wise."""
    width = base.text_encoder.config.hidden_size
    layers = None
    for token, vectors in tokens.items():
        if vectors.ndim not in (2, 3) or vectors.shape[-1] != width:
            raise BaseMismatchError(
                f"token {token} has vectors of shape {tuple(vectors.shape)}, but this base's text is {width} wide",
                "use the base that the adapter was trained on",
            )
        if vectors.ndim == 3:
            layers = len(cross_attention_paths(base.unet))
            if vectors.shape[0] != layers:
                raise BaseMismatchError(
                    f"token {token} is made for {vectors.shape[0]} cross-attentions, but this base has {layers}",
                    "use the base that the adapter was trained on",
                )
    return layers


def _rows(tokenized: TokenizedPrompts, tokens: ConceptTokens, layers: int | None) -> Tensor:
    """The vectors in the order of their places, (places, dim); layer after layer when layer-wise."""
    if layers is None:
        return torch.stack([tokens[token][index] for token, index in tokenized.sources])
    rows = [
        vectors[:, index] if vectors.ndim == 3 else vectors[index].expand(layers, -1)
        for vectors, index in ((tokens[token], index) for token, index in tokenized.sources)
    ]
    return torch.stack(rows, dim=1).flatten(0, 1)


@contextmanager
def _rows_replaced(embedding: nn.Module, places: Tensor, rows: Tensor) -> Iterator[None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mask = places.to(output.device)[..., None].expand_as(output)
        return output.masked_scatter(mask, rows.to(output.device, output.dtype))

    handle = embedding.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
