"""`reportflow`: for operators and for the systems upstream. Nothing here ships."""

import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent

# The functions' own package, so that what is checked here is checked as they do.
_SHARED = str(REPOSITORY / "layers" / "reportflow")
if _SHARED not in sys.path:
    sys.path.append(_SHARED)
