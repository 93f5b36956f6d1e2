"""``python -m analysis.minimal_model``."""

import sys

from analysis.minimal_model.command import main

if __name__ == "__main__":
    sys.exit(main())
