"""Progress on stderr: how far, how fast, how long still."""

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.trainer import StepReport


class TrainingBar:
    """A bar for the concept in training, with loss, steps a second and time left. A context manager."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._concept: str | None = None

    def step(self, report: "StepReport") -> None:
        """One training step was taken."""
        if report.concept != self._concept:
            self.close()
            from tqdm import tqdm

            self._concept = report.concept
            self._bar = tqdm(
                desc=report.concept,
                total=report.steps,
                initial=report.step - 1,
                unit="step",
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {postfix}",
            )
        left = round(report.seconds_left)
        self._bar.set_postfix_str(
            f"loss {report.loss:.4f}, {report.steps_per_second:.1f} steps/s, {left // 60}:{left % 60:02d} left",
            refresh=False,
        )
        self._bar.update()

    def __enter__(self) -> "TrainingBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bar of the concept in training; the next step begins another."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._concept = None


class DrawingBar:
    """A bar over the denoising steps of all pictures. A context manager."""

    def __init__(self) -> None:
        self._bar: Any = None

    def step(self, done: int, steps: int) -> None:
        """`done` of all `steps` were taken."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                desc="drawing",
                total=steps,
                unit="step",
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {rate_fmt}, {remaining} left",
            )
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "DrawingBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
