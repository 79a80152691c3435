"""The recipe of the toybox base: world, tokenizer, VAE, scorer, denoiser, judges, against one clock.

    python -m spectral_diffusion.toybox.pretrain --out spectral_diffusion/toybox/weights --budget_seconds 1380

Every part is written in the diffusers layout as soon as it is trained, the denoiser also in between, and a part that is
there already is kept: started again with the same folder, the recipe goes on where it stopped. Compilation of the later
parts happens in processes of their own while the world is drawn, through the shared cache of torch.compile.
`--smoke` runs all of it in small on a CPU.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from spectral_diffusion.toybox import judges
from spectral_diffusion.toybox.architecture import CANVASES_PX, on_device, save_frame, save_model
from spectral_diffusion.toybox.model_card import model_card
from spectral_diffusion.toybox.pictures import (
    CaptionOrder,
    CaptionProcess,
    Captions,
    Pictures,
    World,
    build_world,
    render_pictures,
    smoke_world,
)
from spectral_diffusion.toybox.rehearsal import rehearse
from spectral_diffusion.toybox.stopwatch import log
from spectral_diffusion.toybox.toy import KINDS
from spectral_diffusion.toybox.train_clip import ClipSettings, save_clip, train_clip
from spectral_diffusion.toybox.train_denoiser import Denoiser, DenoiserSettings, latent_pictures, train_denoiser
from spectral_diffusion.toybox.train_tokenizer import train_tokenizer
from spectral_diffusion.toybox.train_vae import VaeSettings, train_vae
from spectral_diffusion.workspace import write_atomically

PARTS = ("vae", "clip", "denoiser")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the shipped weights.

    Args:
        budget_seconds: From start to end, judging included.
        judging_seconds: Kept for the judges; the denoiser gets what the other parts leave.
        toys_per_kind, views: Toys in the library, and sprites of each from different sides.
        backgrounds_per_kind: Painted pictures of each background.
        square_pictures, wide_pictures: Rendered for training.
        captions_per_picture: Wordings of each picture.
        most_steps: Ends every part after so many steps; for trials.
        judged_scenes, judged_prompts: How much the judges look at.
        seed: Of everything random.
        vae, clip, denoiser: Settings of the parts; the denoiser's seconds are set by the clock.
    """

    budget_seconds: float = 1380.0
    judging_seconds: float = 40.0
    toys_per_kind: int = 900
    views: int = 2
    backgrounds_per_kind: int = 300
    square_pictures: int = 300_000
    wide_pictures: int = 150_000
    captions_per_picture: int = 4
    most_steps: int | None = None
    judged_scenes: int = 512
    judged_prompts: int = 64
    seed: int = 1
    vae: VaeSettings = field(default_factory=VaeSettings)
    clip: ClipSettings = field(default_factory=ClipSettings)
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)


SMOKE = Recipe(
    budget_seconds=600,
    square_pictures=24,
    wide_pictures=12,
    captions_per_picture=2,
    most_steps=2,
    judged_scenes=2,
    judged_prompts=2,
    vae=VaeSettings(batch_size=2, compile=False),
    clip=ClipSettings(scenes=2, toys=2, compile=False),
    denoiser=DenoiserSettings(square_batch=2, wide_batch=2, snapshot_seconds=0.01, compile=False),
)
"""The recipe in small."""


class Pretraining:
    """One run of the recipe.

    Args:
        recipe: What to do.
        folder: Gets the weights; parts that are there already are kept.
        device: Where to train.
        world: Where to take toys and backgrounds from; drawn by the recipe by default.
        again: Parts to train further although they are there.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        *,
        world: World | None = None,
        again: tuple[str, ...] = (),
    ) -> None:
        self._recipe, self._folder, self._device, self._again = recipe, folder, device, again
        self._world = world
        self._started = time.monotonic()
        self._metrics: dict[str, Any] = {}
        self.faults: list[str] = []
        if (folder / "metrics.json").is_file():
            self._metrics = json.loads((folder / "metrics.json").read_text())

    def run(self) -> None:
        """Do everything that is not done yet; a fault in a part that others can do without is logged and kept."""
        recipe, folder = self._recipe, self._folder
        save_frame(folder)
        with self._part("tokenizer"):
            tokenizer = self._tokenizer()
        rehearsals = [] if not self._compiles else [self._rehearsal(part) for part in PARTS if self._is_due(part)]
        with self._part("world"):
            world = self._world or build_world(
                toys_per_kind=recipe.toys_per_kind,
                views=recipe.views,
                backgrounds_per_kind=recipe.backgrounds_per_kind,
                seed=recipe.seed,
                device=self._device,
            )
        with self._part("pictures"):
            pictures = self._pictures(world)
        with tempfile.TemporaryDirectory() as temporary:
            captions = self._captions(world, pictures, Path(temporary))
            del world
            with self._part("vae"):
                vae = self._vae(list(pictures.values()))
            with self._part("captions"):
                written = captions.result()
        with self._tolerated("the judges of the VAE"), self._part("vae_judged"):
            judged = self._world or judges.judging_world(self._device)
            scenes = judges.fresh_scenes(judged, recipe.judged_scenes, "square")
            self._note("vae_fresh", judges.fidelity(vae, scenes))
            judges.reconstruction_sheet(vae, scenes).save(folder / "vae.png")
        with self._tolerated("the scorer"), self._part("clip"):
            self._clip(pictures, written, tokenizer)
        with self._part("latents"):
            data = {name: latent_pictures(vae, part, written.scenes[name]) for name, part in pictures.items()}
            pictures.clear()
        for rehearsal in rehearsals:
            rehearsal.kill()
        with self._part("denoiser"):
            self._denoiser(data, tokenizer)
        data.clear()
        with self._tolerated("the judges"), self._part("judges"):
            judged = self._world or judges.judging_world(self._device)
            measures = judges.judge(
                folder, judged, self._device, scenes=recipe.judged_scenes, prompts=recipe.judged_prompts
            )
            self._note("measures", measures)
        self._note("total_seconds", round(self._elapsed_seconds, 1))
        self._note("total_mib", round(sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 2**20, 2))
        self._note("recipe", self._facts())
        self._note("software", self._software())
        write_atomically(folder / "README.md", lambda path: path.write_text(model_card(self._metrics)))

    @property
    def _elapsed_seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def _compiles(self) -> bool:
        return self._recipe.denoiser.compile

    def _tokenizer(self) -> CLIPTokenizer:
        folder = self._folder / "tokenizer"
        if (folder / "tokenizer.json").is_file():
            return CLIPTokenizer.from_pretrained(folder)
        return train_tokenizer(folder)

    def _pictures(self, world: World) -> dict[str, Pictures]:
        counts = {"square": self._recipe.square_pictures, "wide": self._recipe.wide_pictures}
        return {
            name: render_pictures(*world, counts[name], size_px=size, seed=self._recipe.seed + number)
            for number, (name, size) in enumerate(CANVASES_PX.items())
        }

    def _captions(self, world: World, pictures: dict[str, Pictures], folder: Path) -> CaptionProcess:
        plans = {name: part.plans for name, part in pictures.items()}
        order = CaptionOrder(world.library, plans, self._recipe.captions_per_picture, 4, self._recipe.seed)
        return CaptionProcess(order, folder, self._folder / "tokenizer")

    def _vae(self, pictures: list[Pictures]) -> AutoencoderKL:
        vae = None
        if (self._folder / "vae" / "config.json").is_file():
            vae = on_device(AutoencoderKL.from_pretrained(self._folder / "vae"), self._device)
            if not self._is_due("vae"):
                return vae.eval()
        vae, record = train_vae(
            pictures, self._recipe.vae, device=self._device, vae=vae, most_steps=self._recipe.most_steps
        )
        save_model(vae, self._folder / "vae")
        self._note("vae", record)
        return vae

    def _clip(self, pictures: dict[str, Pictures], captions: Captions, tokenizer: CLIPTokenizer) -> None:
        if not self._is_due("clip"):
            return
        clip, record = train_clip(
            pictures, captions, tokenizer, self._recipe.clip, device=self._device, most_steps=self._recipe.most_steps
        )
        save_clip(clip, self._folder / "tokenizer", self._folder / "clip")
        self._note("clip", record)

    def _denoiser(self, data: dict[str, Any], tokenizer: CLIPTokenizer) -> None:
        if not self._is_due("denoiser"):
            return
        start = None
        if all((self._folder / part / "config.json").is_file() for part in ("unet", "text_encoder")):
            start = Denoiser(
                UNet2DConditionModel.from_pretrained(self._folder / "unet"),
                CLIPTextModel.from_pretrained(self._folder / "text_encoder"),
            )
            log.info("the denoiser goes on from %s", self._folder)
        left = self._recipe.budget_seconds - self._recipe.judging_seconds - self._elapsed_seconds
        settings = replace(self._recipe.denoiser, seconds=max(left, 1.0))
        log.info("the denoiser has %.0f s", settings.seconds)
        denoiser, record = train_denoiser(
            data,
            tokenizer,
            settings,
            device=self._device,
            denoiser=start,
            on_snapshot=self._snapshot,
            most_steps=self._recipe.most_steps,
        )
        self._save_denoiser(denoiser)
        self._note("denoiser", record)

    def _save_denoiser(self, denoiser: Denoiser) -> None:
        save_model(denoiser.unet, self._folder / "unet")
        save_model(denoiser.text_encoder, self._folder / "text_encoder")

    def _snapshot(self, denoiser: Denoiser) -> None:
        with self._tolerated("a snapshot"):
            self._save_denoiser(denoiser)
            prompts = judges.judged_prompts(min(16, self._recipe.judged_prompts))
            judges.contact_sheet(judges.draw(self._folder, prompts, self._device)).save(self._folder / "snapshot.png")
            log.info("snapshot kept after %.0f s", self._elapsed_seconds)

    def _is_due(self, part: str) -> bool:
        return part in self._again or part not in self._metrics

    def _rehearsal(self, part: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "spectral_diffusion.toybox.pretrain", "--rehearse", part]
        settings = json.dumps(asdict(getattr(self._recipe, part)))
        return subprocess.Popen([*command, "--settings", settings, "--out", str(self._folder)])

    def _facts(self) -> dict[str, Any]:
        recipe = self._recipe
        return {
            "square_pictures": recipe.square_pictures,
            "wide_pictures": recipe.wide_pictures,
            "toys": len(KINDS) * recipe.toys_per_kind,
            "kinds": len(KINDS),
            "captions_per_picture": recipe.captions_per_picture,
            "seed": recipe.seed,
        }

    def _software(self) -> dict[str, str]:
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else "CPU"
        versions = {library.__name__: library.__version__ for library in (torch, transformers, diffusers)}
        return {"device": device, **versions}

    def _note(self, name: str, value: Any) -> None:
        self._metrics[name] = value
        text = json.dumps(self._metrics, indent=2) + "\n"
        write_atomically(self._folder / "metrics.json", lambda path: path.write_text(text))
        log.info("%s: %s", name, json.dumps(value))

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        cuda = self._device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        yield
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
        log.info(
            "== %s: %.1f s, peak %.1f GiB, %.0f s gone", name, time.monotonic() - began, peak, self._elapsed_seconds
        )
        self._metrics.setdefault("part_seconds", {})[name] = round(time.monotonic() - began, 1)

    @contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            log.exception("%s failed; the rest goes on", what)
            self.faults.append(what)


def prepare_device(device: torch.device) -> None:
    """For speed: TF32 outside autocast, tuned convolutions; eager code where compiling fails."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        torch._dynamo.config.suppress_errors = True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--again", nargs="*", choices=PARTS, default=[], help="parts to train further")
    parser.add_argument("--vae_seconds", type=float, default=VaeSettings.seconds)
    parser.add_argument("--clip_seconds", type=float, default=ClipSettings.seconds)
    for name in (f.name for f in fields(Recipe) if f.name not in PARTS):
        default = getattr(Recipe, name)
        parser.add_argument(f"--{name}", type=int if default is None else type(default), default=default)
    parser.add_argument("--smoke", action="store_true", help="everything in small, on a CPU")
    parser.add_argument("--rehearse", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--settings", default="{}", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Command line."""
    options = _parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    log.setLevel(logging.INFO)
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    device = torch.device(options.device)
    if options.rehearse:
        prepare_device(device)
        rehearse(options.rehearse, json.loads(options.settings), options.out / "tokenizer", device)
        return
    if options.smoke:
        with tempfile.TemporaryDirectory() as temporary:
            run = Pretraining(SMOKE, options.out or Path(temporary), torch.device("cpu"), world=smoke_world())
            run.run()
            if run.faults:
                raise SystemExit(f"failed: {', '.join(run.faults)}")
        return
    prepare_device(device)
    recipe = Recipe(**{f.name: getattr(options, f.name) for f in fields(Recipe) if f.name not in PARTS})
    recipe = replace(
        recipe,
        vae=replace(recipe.vae, seconds=options.vae_seconds),
        clip=replace(recipe.clip, seconds=options.clip_seconds),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    run = Pretraining(recipe, options.out, device, again=tuple(options.again))
    run.run()
    if run.faults:
        raise SystemExit(f"finished, but failed: {', '.join(run.faults)}")


if __name__ == "__main__":
    main()
