"""The toybox tokenizer: a CLIP byte-level BPE in which every word of the toy world, and many an ordinary one, is one token.

    python -m spectral_diffusion.toybox.train_tokenizer --out spectral_diffusion/toybox/weights/tokenizer

It takes a few seconds on a CPU and has no randomness: the same words give the same files. `<|endoftext|>` is the highest
id, as CLIP text models expect, and also pads.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from spectral_diffusion.toybox import phrases
from spectral_diffusion.toybox.architecture import TEXT_LENGTH, save_component

ORDINARY_WORDS = tuple(
    """
    a an and the of on in at near with without by from to for next beside between behind front over under above below
    around into onto out up down left right middle center centre side top bottom corner edge there is are it its this that
    these those my your his her our their one two three four five some many all both each no not only very just
    photo photograph picture image drawing painting sketch rendering render illustration poster portrait cartoon toy toys
    scene view close closeup style art artwork watercolor watercolour oil pencil ink digital clay wooden plastic plush
    stuffed knitted fluffy furry shiny glossy matte metal metallic glass paper stone golden silver marble ceramic
    high low quality resolution detailed sharp blurry blurred hd best good bad beautiful nice lovely pretty cute funny
    sweet little small tiny big large huge giant tall short long round square thin thick old new young baby
    happy sad surprised angry smiling smile laughing crying sleepy sleeping tired scared proud calm grumpy cheerful
    sitting standing lying looking walking running jumping playing dancing waving holding wearing carrying eating drinking
    reading riding flying swimming floating hiding waiting facing hugging
    red orange yellow green blue purple pink white black brown gray grey teal cyan turquoise magenta violet gold beige
    cream lime olive navy maroon lavender peach mint tan light dark bright pale colourful colorful rainbow
    plain striped dotted checked wavy spotted checkered patterned stripes stripe dots dot checks waves spots squares lines
    star stars moon heart hearts patch eye eyes face faces head heads nose mouth mouths ear ears hair forehead cheek cheeks
    belly back arm arms leg legs limb limbs hand hands foot feet paw paws tail wing wings shell tentacle tentacles tip tips
    body hat hats cap crown helmet scarf scarves glasses sunglasses bow bows tie ribbon collar necklace belt shirt dress
    jacket coat shoes boots gloves backpack bag flag sign band sash button buttons
    octopus tortoise turtle dog puppy cat kitten duck duckling bear teddy rabbit bunny robot doll car truck bus train bike
    boat ship plane vase chair table sofa bed lamp mushroom cup mug bowl plate bottle ball balloon book box clock
    bird fish horse cow pig sheep goat chicken hen mouse frog snake lion tiger elephant monkey panda fox wolf deer owl
    penguin whale dolphin shark crab snail bee butterfly spider dragon monster dinosaur unicorn alien ghost person people
    man woman boy girl child children king queen prince princess pirate knight wizard scientist doctor teacher cook chef
    farmer astronaut clown player friend friends family figure statue puppet animal animals creature pet thing things object
    house home castle tower bridge church barn tent shop school farm street road path city town village park garden yard
    field meadow forest woods tree trees bush grass leaf leaves flower flowers rose plant plants hill hills mountain
    mountains valley rock rocks cave desert dune sand beach sea ocean island lake river pond stream waterfall water wave
    snow ice winter summer spring autumn sky cloud clouds sun sunny sunset sunrise rain rainy storm wind fog night day
    morning evening noon midnight dusk dawn light shadow shadows space planet earth world fire smoke background ground
    floor wall walls window door room kitchen bathroom bedroom hall shelf desk carpet rug tile tiles tiled wood stage
    studio playground fence gate bench swing apple banana orange lemon cherry strawberry cake cookie bread cheese pizza
    candy ice cream tea coffee milk juice fruit food basket candle gift present party birthday christmas music guitar drum
    piano game dice puzzle block blocks brick bricks wheel wheels rocket
    """.split()
)
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


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    found = json.loads(learner.to_str())["model"]["merges"]
    return [(merge[0], merge[1]) if not isinstance(merge, str) else tuple(merge.split(" ")) for merge in found]


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the tokenizer as transformers 5 does, with `vocab.json` and `merges.txt` for readers of the older layout."""
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
