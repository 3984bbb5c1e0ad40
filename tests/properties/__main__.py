"""`python -m tests.properties`: the long search on all cores, or one request once more."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "reportflow"))

if __name__ == "__main__":
    import_module("tests.properties.program").main()
