"""Training against the clock: how far a part has come, what rate it learns at, what it reports."""

import logging
import math
import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

log = logging.getLogger("spectral_diffusion.toybox")


class Stopwatch:
    """Seconds of one training part, from its making.

    A part is given time, not steps: what a machine manages in it is what it learns, and the rate reaches zero exactly
    at the end of it, compilation included.

    Args:
        seconds: Time that the part has.
        report_seconds: Time between two reports.
    """

    def __init__(self, seconds: float, report_seconds: float = 10.0) -> None:
        self.seconds = seconds
        self.report_seconds = report_seconds
        self.started = time.monotonic()
        self.first_step_seconds = 0.0
        self.steps = 0
        self.pictures = 0
        self._reported = self.started

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """Share of the time that is used up, in [0, 1]."""
        return min(1.0, self.elapsed_seconds / max(self.seconds, 1e-9))

    def rate_factor(self, *, warm_up_steps: int, flat: float) -> float:
        """Factor of the learning rate: linear warm-up, flat up to a share of the time, then half a cosine to 0."""
        fall = max(0.0, self.progress - flat) / (1.0 - flat)
        return min(1.0, (self.steps + 1) / warm_up_steps) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, fall)))

    def count(self, pictures: int) -> None:
        """One more step is done; the first ones, with their compilation, are left out of the speed."""
        self.steps += 1
        if self.steps <= WARM_STEPS:
            self.first_step_seconds = self.elapsed_seconds
        else:
            self.pictures += pictures

    @property
    def pictures_per_second(self) -> float:
        """Speed without the first steps."""
        return self.pictures / max(self.elapsed_seconds - self.first_step_seconds, 1e-9)

    def due(self) -> bool:
        """True once every `report_seconds`."""
        now = time.monotonic()
        if now - self._reported < self.report_seconds:
            return False
        self._reported = now
        return True

    def record(self) -> dict[str, float]:
        """Steps, seconds and speed for the metrics."""
        return {
            "seconds": round(self.elapsed_seconds, 1),
            "first_steps_seconds": round(self.first_step_seconds, 1),
            "steps": self.steps,
            "pictures_per_second": round(self.pictures_per_second, 1),
        }


WARM_STEPS = 4


class Descent:
    """AdamW with clipped gradients and, by choice, a running mean of the weights (EMA).

    A step whose gradient is not finite changes nothing.

    Args:
        groups: Parameters with their learning rates.
        weight_decay: As in AdamW.
        ema_decay: Of the running mean; None for none. The mean starts quickly: (1 + step) / (10 + step) at most.
    """

    def __init__(
        self,
        groups: Sequence[tuple[Iterable[nn.Parameter], float]],
        *,
        weight_decay: float = 0.0,
        ema_decay: float | None = None,
    ) -> None:
        self._groups = [(list(parameters), rate) for parameters, rate in groups]
        self.parameters = [parameter for parameters, _ in self._groups for parameter in parameters]
        self._optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for parameters, rate in self._groups],
            betas=(0.9, 0.98),
            weight_decay=weight_decay,
            fused=True,
        )
        self._ema_decay = ema_decay
        self._steps = 0
        self.ema = [parameter.detach().clone() for parameter in self.parameters] if ema_decay else []

    def step(self, loss: Tensor, rate_factor: float) -> None:
        """One descent along the gradient of `loss`, at the groups' rates times `rate_factor`."""
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        # The fused optimizer skips its step by itself where this is 1, with no round trip to the CPU.
        self._optimizer.found_inf = (~torch.isfinite(norm)).float()
        for group, (_, rate) in zip(self._optimizer.param_groups, self._groups, strict=True):
            group["lr"] = rate * rate_factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        if self._ema_decay:
            decay = min(self._ema_decay, (1 + self._steps) / (10 + self._steps))
            torch._foreach_lerp_(self.ema, [parameter.detach() for parameter in self.parameters], 1.0 - decay)

    @torch.no_grad()
    def take_ema(self) -> None:
        """Put the running mean into the weights."""
        for parameter, mean in zip(self.parameters, self.ema, strict=True):
            parameter.copy_(mean)
