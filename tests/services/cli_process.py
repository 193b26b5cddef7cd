"""The command line as a process of its own, with the tests' predictor in the place of the embedded model."""

from pathlib import Path

import services.predictor

if __name__ == "__main__":
    from quadrant_predictor import QuadrantPredictor

    def load_predictor(folder: Path | None = None) -> QuadrantPredictor:
        return QuadrantPredictor()

    services.predictor.load_predictor = load_predictor

    from services.cli import main

    main()
