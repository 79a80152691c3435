"""Between which numbers the controls of the page lie."""

COUNT_LIMIT = 8
SEED_LIMIT = 2**53 - 1
"""Beyond this a browser rounds."""
STEPS_LIMIT = 100
GUIDANCE_LIMIT = 30
