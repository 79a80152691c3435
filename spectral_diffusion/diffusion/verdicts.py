"""Whether photographs are good to learn from: sharp, large enough, and each another one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

SHARPNESS_LEAST = 0.5
"""Found with `measure` on 40 photographs of eight subjects (DreamBooth) and on the 15 sample renders, which are smooth
and 128 px small; radii are a Gaussian's sigma where the longer side has 512 px.

- Sharp: 0.66 and more, renders 0.74 and more; after scaling to 1536, 300 or 160 px, JPEG of quality 30, noise of 20
  grey levels, or at 0.3 of the contrast or brightness 0.51 and more. None of them is called blurry.
- Blurred by a radius of 1, 1 is called so; of 1.5, 19; of 2, 38; of 3 or more, all, also after JPEG and under noise of
  4 levels, but under noise of 10 levels 35. Shaken by 8, 15 or 25 px: 31, 38 and 34. Enlarged from 128 px: 21.
- Sharp only inside of a circle, the rest blurred by a radius of 6: 3 of 40 are called blurry, wrongly."""
LIKENESS_LEAST = 0.8
"""Measured on the same pictures. Copies that were resized, compressed, brightened, cropped by up to a tenth at each
edge, or all of that, have 0.85 and more; two views of one thing at most 0.57, and of one rendered on its bare table
0.75; different things 0.57."""
DARK_BELOW = 24
"""The brightest fiftieth of the darkest of these, a teapot in a dark room, has 111 of 255; at a tenth of the brightness
41 of the 55 are below this, at a fifth 1."""
PALE_BELOW = 32
"""Between the brightest and the darkest fiftieth of the palest of these lie 111 of 255; at a fifth of the contrast 8 of
the 55 are below this, at a tenth all."""

Kind = Literal["blurry", "too_small", "near_duplicate", "too_dark", "washed_out"]

_WORKING_SIDE_PX = 512
_BLOCK_PX = 32
_SMOOTHING_PX = 1.0
# Grey levels per pixel, below which an edge is noise; and the share of the strongest edges that counts as clear.
_EDGE_LEAST, _EDGE_SHARE = 3.0, 0.25
_EDGE_BLOCKS = 3
_STAMP_PX, _COMPARED_PX, _DETAIL_PX = 64, 24, 3.0
_CUTS = (0.0, 0.05, 0.1)
_HALF = 0.5**0.5


@dataclass(frozen=True)
class Measure:
    """What is known of a photograph without looking at it again.

    Args:
        width_px, height_px: Its size.
        sharpness: How steep its steepest edges are for their height, in the direction in which they are least so: about
            1 when sharp, whatever the subject, the contrast and the size. 0 when it has no edges.
        darkest, brightest: Grey level that a fiftieth of it is darker, or brighter than; 0 to 255.
        stamp: (64 * 64) grey levels of it.
    """

    width_px: int
    height_px: int
    sharpness: float
    darkest: float
    brightest: float
    stamp: bytes


@dataclass(frozen=True)
class Fault:
    """What is wrong with a photograph.

    Args:
        kind: For machines.
        words: For people.
        other: The photograph that it repeats.
    """

    kind: Kind
    words: str
    other: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a photograph; without faults it is good."""

    faults: tuple[Fault, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.faults

    @property
    def words(self) -> str:
        """The verdict for people."""
        return "; ".join(fault.words for fault in self.faults) or "good"


def measure(image: Image.Image) -> Measure:
    """Look at a photograph once, in about 20 ms.

    Args:
        image: An RGB picture.
    """
    grey = np.asarray(image.convert("L"))
    stamp = cv2.resize(grey, (_STAMP_PX, _STAMP_PX), interpolation=cv2.INTER_AREA)
    darkest, brightest = np.percentile(stamp, (2, 98))
    scale = _WORKING_SIDE_PX / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return Measure(image.width, image.height, _sharpness(grey), float(darkest), float(brightest), stamp.tobytes())


def judge_photographs(photographs: Mapping[str, Measure], resolution_px: int) -> dict[str, Verdict]:
    """Judge the photographs of one concept together.

    Args:
        photographs: Measures by name. Of two that are alike the later one is told to be a near-duplicate.
        resolution_px: The shorter side of what the base is trained on.
    """
    names = list(photographs)
    twins = _near_duplicates([photographs[name] for name in names])
    verdicts = {}
    for number, (name, found) in enumerate(photographs.items()):
        faults = []
        if found.brightest < DARK_BELOW:
            faults.append(Fault("too_dark", "too dark"))
        elif found.brightest - found.darkest < PALE_BELOW:
            faults.append(Fault("washed_out", "washed out"))
        elif found.sharpness < SHARPNESS_LEAST:
            faults.append(Fault("blurry", "blurry"))
        shorter = min(found.width_px, found.height_px)
        if shorter < resolution_px:
            times = resolution_px / shorter
            size = f"{found.width_px} x {found.height_px}"
            faults.append(Fault("too_small", f"too small: {size} would be enlarged {times:.1f} times"))
        if number in twins:
            other = names[twins[number]]
            faults.append(Fault("near_duplicate", f"near-duplicate of {other}", other))
        verdicts[name] = Verdict(tuple(faults))
    return verdicts


def _sharpness(grey: np.ndarray) -> float:
    """See `Measure`: second over first derivative of the clearest edges, block by block, in four directions.

    For an edge of any height that a Gaussian of radius s blurred, this is about 0.6 / s.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _SMOOTHING_PX)
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    first = [np.abs(x), np.abs(y), np.abs(x - y) * _HALF, np.abs(x + y) * _HALF]
    second = [np.abs(cv2.filter2D(smooth, cv2.CV_32F, kernel)) for kernel in _SECOND_DERIVATIVES]
    edges = [_block_maxima(derivative) for derivative in first]
    clear = max(_EDGE_LEAST, _EDGE_SHARE * max(float(np.percentile(edge, 95)) for edge in edges))
    found = []
    for edge, derivative in zip(edges, second, strict=True):
        counted = edge > clear
        if counted.sum() >= min(_EDGE_BLOCKS, edge.size):
            found.append(float(np.percentile(_block_maxima(derivative)[counted] / edge[counted], 95)))
    return min(found, default=0.0)


_SECOND_DERIVATIVES = [
    np.array(rows, np.float32)
    for rows in (
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]],
        [[0.5, 0, 0], [0, -1, 0], [0, 0, 0.5]],
    )
]


def _block_maxima(values: np.ndarray) -> np.ndarray:
    """Of each block of 32 px, what all but a fiftieth of it stays below: the maximum without single wild pixels."""
    height, width = values.shape
    rows, columns = max(1, height // _BLOCK_PX), max(1, width // _BLOCK_PX)
    high, wide = height // rows, width // columns
    blocks = values[: rows * high, : columns * wide].reshape(rows, high, columns, wide).swapaxes(1, 2)
    blocks = blocks.reshape(rows * columns, -1)
    kept = blocks.shape[1] - 1 - blocks.shape[1] // 50
    return np.partition(blocks, kept, axis=1)[:, kept]


def _near_duplicates(measures: list[Measure]) -> dict[int, int]:
    """Which photographs show what an earlier one shows: the correlation of their details, over crops of either."""
    if len(measures) < 2:
        return {}
    crops = np.stack([_crops(found.stamp) for found in measures])
    likeness = np.einsum("acd,bd->abc", crops, crops[:, 0], optimize=True).max(axis=2)
    alike = np.maximum(likeness, likeness.T) >= LIKENESS_LEAST
    return {later: int(alike[later, :later].argmax()) for later in range(len(measures)) if alike[later, :later].any()}


def _crops(stamp: bytes) -> np.ndarray:
    """The details of a picture, and of 80 crops of it, (81, 24 * 24), each of length 1; 0 where there is nothing."""
    picture = np.frombuffer(stamp, np.uint8).reshape(_STAMP_PX, _STAMP_PX)
    ends = [round(cut * _STAMP_PX) for cut in _CUTS]
    found = []
    for top in ends:
        for bottom in ends:
            for left in ends:
                for right in ends:
                    part = picture[top : _STAMP_PX - bottom, left : _STAMP_PX - right]
                    small = cv2.resize(part, (_COMPARED_PX, _COMPARED_PX), interpolation=cv2.INTER_AREA)
                    small = small.astype(np.float32)
                    found.append((small - cv2.GaussianBlur(small, (0, 0), _DETAIL_PX)).ravel())
    details = np.stack(found)
    length = np.linalg.norm(details, axis=1, keepdims=True)
    # Less than a grey level of detail is noise, and all noise of one camera is alike.
    return np.where(length < _COMPARED_PX, 0, details / np.maximum(length, 1e-6))
