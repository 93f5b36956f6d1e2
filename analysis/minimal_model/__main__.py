"""``python -m analysis.minimal_model``."""

from analysis.minimal_model.command import main

if __name__ == "__main__":
    main()
