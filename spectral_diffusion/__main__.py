"""`python -m spectral_diffusion VERB`: the command line without its script."""

import sys

from spectral_diffusion.cli import main

sys.exit(main())
