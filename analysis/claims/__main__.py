"""``python -m analysis.claims``."""

import sys

from analysis.claims.command import main

if __name__ == "__main__":
    sys.exit(main())
