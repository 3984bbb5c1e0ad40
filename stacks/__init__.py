"""The CDK stacks, their settings, and the packaging of the functions."""

import sys
from pathlib import Path
from typing import Final

# The stacks read `reportflow.settings`, which declares the settings of each function.
_SHARED: Final = str(Path(__file__).resolve().parent.parent / "layers" / "reportflow")
if _SHARED not in sys.path:
    sys.path.append(_SHARED)
