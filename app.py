"""Starts the studio: `python app.py`, with the options of `spectral-diffusion ui`."""

import sys

from spectral_diffusion.cli import main

if __name__ == "__main__":
    sys.exit(main(["ui", *sys.argv[1:]]))
