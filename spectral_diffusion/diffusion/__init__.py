"""The idea at work on Stable Diffusion: bases, prompts, training, drawing and scoring."""

import os

# Before any library reads them: nothing here reports to anybody. What the user has set stays.
for _switch in ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")
