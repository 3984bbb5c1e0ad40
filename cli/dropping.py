"""Dead letters deleted for good: each stands in a file first."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.failures import CliError
from cli.letters import DeadLetters, Letter, QueueName, Selection


@dataclass(frozen=True)
class Dropped:
    """How many letters were deleted, and how many could not be."""

    dropped: int
    left: int


def save_and_delete(
    queues: Mapping[QueueName, DeadLetters],
    selection: Selection,
    path: Path,
    dropped: Callable[[QueueName, Letter], None],
) -> Dropped:
    """Delete the letters that are meant, each after it was written to a new file.

    `dropped` is called with each that was deleted.

    The file is its owner's alone, since the letters hold customers' data.

    Raises:
        CliError: the file is there, or cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CliError(f"{path} cannot be made: {error.strerror}.") from error
    count = left = 0
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for queue in queues.values():
            with queue.look() as batches:
                for batch in batches:
                    meant = [letter for letter in batch if selection.has(letter)]
                    file.writelines(f"{_line(queue.name, letter)}\n" for letter in meant)
                    file.flush()
                    os.fsync(file.fileno())
                    failed = queue.delete(meant)
                    for letter in meant:
                        if letter not in failed:
                            count += 1
                            dropped(queue.name, letter)
                    left += len(failed)
    if not count and not left:
        path.unlink()
    return Dropped(count, left)


def _line(queue: QueueName, letter: Letter) -> str:
    return json.dumps(letter.whole(queue), ensure_ascii=False)
