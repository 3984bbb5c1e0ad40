"""Where things are in the repository."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD_CACHE = REPOSITORY / ".build"
