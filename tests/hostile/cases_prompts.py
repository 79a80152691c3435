"""Prompts, numbers, options and settings beyond every bound, and what is said of each."""

import json
from typing import Any

SOUND: dict[str, Any] = {
    "prompt": "a photo of <octo>",
    "negative_prompt": "",
    "seed": 1,
    "steps": 20,
    "guidance_scale": 5.0,
    "sampler": "dpm-solver++",
    "width_px": 128,
    "height_px": 128,
    "base": "toybox",
    "fingerprints": {"unet": "a" * 64},
    "is_toybox": True,
    "adapters": [
        {
            "name": "octo",
            "sha256": "b" * 64,
            "tokens": ["<octo>"],
            "class_words": {"<octo>": "octopus"},
            "strength": 1.0,
            "factor_scale": 1.0,
        }
    ],
    "device": "cpu",
    "dtype": "float32",
    "versions": {"torch": "2"},
}
"""Settings of a picture as they should be."""

NOT_A_NUMBER, INFINITE = float("nan"), float("inf")
VALUES: list[tuple[str, Any]] = [
    *(("prompt", text) for text in ("a\0b", "\x1b[2J", "\x9b2J", "a\ud800b", "x" * 10_001, "\x7f", 5, None, ["a"])),
    *(("negative_prompt", text) for text in ("a\0b", "\udcff", "x" * 10**6, 5)),
    *(("seed", number) for number in (-1, 2**63, 2**64, 10**30, 1.5, NOT_A_NUMBER, "x", None, [1])),
    *(("steps", number) for number in (0, -1, 1001, 10**9, 10**30, 1e9, NOT_A_NUMBER, INFINITE, "many", None)),
    *(("guidance_scale", number) for number in (0, 0.5, -1, 101, 1e300, NOT_A_NUMBER, INFINITE, -INFINITE, "x", None)),
    *(("width_px", number) for number in (0, -8, 15, 4097, 10**9, 10**30, 1.5, NOT_A_NUMBER, None)),
    *(("height_px", number) for number in (0, -8, 10**9, INFINITE)),
    *(("sampler", name) for name in ("", "os.system", "../x", None)),
    *(("base", name) for name in ("", "a\nb", "\x1b[2J", "a\u202eb", "x" * 201, 5, None)),
    *(("fingerprints", found) for found in ([], {"unet": 5}, {"a\nb": "a"}, {"unet": "x" * 300})),
    *(("adapters", found) for found in (5, [5], [{}], SOUND["adapters"] * 257)),
    *(("device", name) for name in ("\x1b[2J", "x" * 201, None)),
    *(("versions", found) for found in ([], {"torch": "\x1b[2J"}, {"torch": 2})),
]
"""A field of a picture's settings and a value that is refused by the field's name."""

RECORDS: list[tuple[str, Any]] = [
    *(("name", name) for name in ("", "../../x", "a/b", ".x", "a\\b", "a\nb", "\x1b[2J", "a\u202eb", "x" * 201, 5)),
    *(("sha256", text) for text in ("", "\x1b[2J", "x" * 201, None)),
    *(("tokens", found) for found in (5, [5], ["a\nb"], ["x" * 201])),
    *(("class_words", found) for found in ([], {"<octo>": "a\nb"}, {"<octo>": 5})),
    *(("strength", number) for number in (NOT_A_NUMBER, INFINITE, 1e300, -1001, "much", None)),
    *(("factor_scale", number) for number in (NOT_A_NUMBER, -INFINITE, 1001)),
]
"""The same of the concepts in it."""

TEXTS: dict[str, str] = {
    "nothing": "",
    "no JSON": "{not json",
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "100 000 lists": "[" * 100_000,
    "100 000 objects": '{"a":' * 100_000,
    "a number of 5000 digits": json.dumps(SOUND).replace('"seed": 1', '"seed": ' + "9" * 5000),
    "half a character": json.dumps(SOUND).replace("a photo", "\\ud800"),
    "an unknown key": json.dumps({**SOUND, "run": "rm -rf ~"}),
    "an unknown key with escape codes": json.dumps({**SOUND, "\x1b[2J": 1}),
    "a newer format": json.dumps({**SOUND, "format": 2}),
    "two megabytes": json.dumps({**SOUND, "prompt": "x" * 2**21}),
    "a pickle": "\x80\x04]q.",
    "a constructor": '{"__class__": "os.system"}',
}
"""What lies where a PNG's settings should be."""

COMMANDS: list[tuple[list[str], tuple[str, ...]]] = [
    *((["generate", "-p", "a", "--steps", number], ("--steps",))
      for number in ("0", "1001", "1e9", "nan", "99999999999999999999", "9" * 5000, "\u00b2", "")),
    *((["generate", "-p", "a", "--seed", number], ("--seed",))
      for number in ("-1", "1e3", "nan", str(2**63), "9" * 5000, "0x10", "")),
    *((["generate", "-p", "a", "--count", number], ("--count",)) for number in ("0", "-1", "10001", "1e9", "inf")),
    *((["generate", "-p", "a", "--guidance", number], ("--guidance",)) for number in ("0", "101", "inf", "-inf", "x")),
    *((["generate", "-p", "a", "--size", size], ("WxH",))
      for size in ("", "x", "1x", "-1x5", "1e5x1", "999999x1", "128", "128x128x128", "\x1b[2Jx1", "9" * 5000 + "x1")),
    *((["generate", "-p", "a", "-a", f"gone.safetensors:{number}"], (word,))
      for number, word in (("nan", "nan"), ("inf", "inf"), ("1e400", "1e400"), ("-101", "-101"), ("\x1b[2J", "[2J"))),
    *((["generate", "-p", "a", "-a", path], ("path",)) for path in ("a\0b", "\ud800")),
    (["generate", "-p", "a", "-a", "x" * 5000], ("too long",)),
    *((["generate", "-p", "a", "--base", base, "--out", "out"], ("base",))
      for base in ("../../etc/passwd", "a\0b", "http://127.0.0.1/x", "owner/../x", "~", "\x1b[2J", "$(id)")),
    (["generate", "-p", "a", "--config", "a\0b"], ("cannot be a path",)),
    (["generate", "-p", "a", "--out", "a\0b"], ("cannot be a path",)),
    (["generate", "-p", "a", "--workspace", "a\0b"], ("cannot be a path",)),
    (["generate", "--from", "a\0b"], ("cannot be a path",)),
    (["generate", "--from", "x" * 5000], ("cannot read",)),
    *((["train", "x", "--steps", number], ("steps",)) for number in ("0", "1e9", "1000001", "9" * 5000)),
    *((["train", "x", "--rank", number], ("--rank",)) for number in ("0", "513", "-1", "1e1", "9" * 5000)),
    *((["train", "x", "--slot", number], ("slot",)) for number in ("-1", "1e3", "9" * 5000, "1000000", "\u00b2")),
    (["train", "a\0b"], ("cannot be a path",)),
    (["train", "\x1b[2J"], ("\\x1b[2J",)),
    (["train", "x" * 5000], ("x",)),
    (["inspect", "a\0b"], ("cannot be a path",)),
    (["inspect", "x\udcff"], ("there is no file x\\udcff",)),
    (["inspect", "/dev/zero"], ("no ordinary file",)),
    (["score", "/dev/zero", "-p", "a"], ("no ordinary file",)),
    (["score", "a\0b", "-p", "a"], ("cannot be a path",)),
    (["fuse", "/dev/zero", "--out", "f"], ("no ordinary file",)),
    (["fuse", "x", "--out", "a\0b"], ("cannot be a path",)),
    *((["fuse", "x", "--out", "f", "--factor-scale", number], ("--factor-scale",)) for number in ("11", "inf", "x")),
    *((["fuse", "x", "--out", "f", "--rename", pair], ("--rename",)) for pair in ("", "=", "a=", "=b", "a")),
    *((["slots", "release", name], ("slot",)) for name in ("../x", "a\nb", "\x1b[2J", "x" * 300, "a\0b", "\ud800")),
    (["\x1b[2J"], ("\\x1b[2J",)),
    (["generate", "--\x1b[2J"], ("\\x1b[2J",)),
    (["x" * 5000], ("x",)),
]  # fmt: skip
"""Words that make no command, with words of the line that says so."""

CONFIGS: dict[str, tuple[bytes, str]] = {
    "binary": (b"\x80\x04]q.", "not plain text"),
    "a megabyte": (b"#" * 2**20, "over the limit"),
    "30 000 lists": (b"base = " + b"[" * 30_000, "not TOML"),
    "a number of 5000 digits": (b"[training]\nsteps = " + b"9" * 5000, "not TOML"),
    "a table for a text": (b"[base]\nx = 1", "base"),
    "a text for a table": (b'training = "x"', "training"),
    "escape codes": (b'"\\u001b[2J" = 1', "[2J"),
    **{
        line: (f"[{table}]\n{line}\n".encode(), line.partition(" ")[0])
        for table, lines in {
            "training": ("steps = 1000000001", "rank = 513", "rank = -1", "seed = -1", "batch_size = 100000",
                         "resolution_px = 100000", "noise_offset = nan", "gradient_clip = inf",
                         "companions_count = 1000000000", 'method = "os.system"',
                         'caption_templates = ["{0.__class__}"]',
                         "targets = []", "prior_weight = -0.1", 'masks = "../x"'),
            "generation": ("steps = 1001", "width_px = 1", "guidance_scale = nan", 'sampler = "x"', "height_px = 1e9"),
            "training.learning_rates": ("unet = nan", "unet = -1", "unet = 1e300"),
        }.items()
        for line in lines
    },
}  # fmt: skip
"""Recipes and the word that the error holds."""
