"""`python -m tests.simulation`: many seeds on all cores, or one of them as a story."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "reportflow"))

if __name__ == "__main__":
    import_module("tests.simulation.program").main()
