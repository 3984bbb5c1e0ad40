"""Make the templates of the working tree the released ones."""

import tempfile
from pathlib import Path

from tests.stacks.released import write
from tests.stacks.synthesis import synthesize

with tempfile.TemporaryDirectory() as folder:
    write(synthesize(Path(folder)))
