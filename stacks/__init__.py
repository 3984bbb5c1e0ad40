"""What is provisioned: the CDK stacks, their settings, and the packaging of the functions."""

import sys
from pathlib import Path
from typing import Final

# The functions' own package says which settings each of them reads.
_SHARED: Final = str(Path(__file__).resolve().parent.parent / "layers" / "reportflow")
if _SHARED not in sys.path:
    sys.path.append(_SHARED)
