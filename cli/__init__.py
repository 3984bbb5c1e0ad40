"""The command `reportflow`, for operators and upstream developers. Nothing here ships to AWS."""

import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent

# The functions' own package, so that documents are checked as the functions do.
_SHARED = str(REPOSITORY / "layers" / "reportflow")
if _SHARED not in sys.path:
    sys.path.append(_SHARED)
