"""The toybox tokenizer: a CLIP byte-level BPE in which every word of the toy world is one token.

    python -m spectral_diffusion.toybox.train_tokenizer --out spectral_diffusion/toybox/weights/tokenizer

It takes a few seconds on a CPU and has no randomness: the same words give the same files. `<|endoftext|>` is the
highest id, as CLIP text models expect, and also pads.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from spectral_diffusion.toybox import phrases
from spectral_diffusion.toybox.architecture import TEXT_LENGTH, save_component

ORDINARY_WORDS = tuple(Path(__file__).with_name("ordinary_words.txt").read_text(encoding="utf-8").split())
"""Words that people type though the toy world lacks most of them, so that their prompts stay short in tokens."""

_SPLIT = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
_END_OF_WORD = "</w>"


def world_words() -> set[str]:
    """Every single word that the world's captions can hold, also of the held-out marks; pieces with signs are split."""
    from spectral_diffusion.toybox import captions

    said = {*phrases.WORDS, *phrases.HELD_OUT_WORDS, *captions.WORDS}
    return {word for text in said for word in text.lower().split() if word.isalpha()}


def build_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """A CLIP tokenizer in which each of the given words is one token; any other text falls apart into pieces.

    Args:
        words: Lower-case words of letters alone; others are left to the pieces.
    """
    words = sorted({word for word in words if word.isalpha()})
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END_OF_WORD, continuing_subword_prefix=""))
    learner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        # Room for all merges: training then ends when every word is whole.
        vocab_size=100_000,
        min_frequency=2,
        initial_alphabet=alphabet,
        end_of_word_suffix=_END_OF_WORD,
        show_progress=False,
    )
    learner.train_from_iterator([word for word in words for _ in range(4)], trainer)
    merges = _merges(learner)
    vocabulary: dict[str, int] = {}
    for token in (*alphabet, *(sign + _END_OF_WORD for sign in alphabet), *("".join(merge) for merge in merges)):
        vocabulary.setdefault(token, len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)


def _merges(learner: Tokenizer) -> list[Any]:
    found = json.loads(learner.to_str())["model"]["merges"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in found]
    return [(first, second) for first, second in pairs]


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the tokenizer as transformers 5 does, with `vocab.json` and `merges.txt` for older readers."""
    save_component(tokenizer, folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    lines = ["#version: 0.2", *(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def train_tokenizer(folder: Path) -> CLIPTokenizer:
    """Build the shipped tokenizer, write it, and read it back."""
    save_tokenizer(build_tokenizer({*world_words(), *ORDINARY_WORDS}), folder)
    return CLIPTokenizer.from_pretrained(folder)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the tokenizer")
    parser.add_argument("--smoke", action="store_true", help="write to a temporary folder and check the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer = train_tokenizer(Path(temporary) / "tokenizer" if options.smoke else options.out)
        broken = [word for word in world_words() if len(tokenizer.tokenize(word)) != 1]
        if broken:
            raise SystemExit(f"not one token each: {broken}")
        print(f"{len(tokenizer)} tokens, every word of the world is one of them")


if __name__ == "__main__":
    main()
