"""`python -m tests.incidents`: the fire drill, all incidents or those that are named."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "reportflow"))

if __name__ == "__main__":
    import_module("tests.incidents.program").main()
