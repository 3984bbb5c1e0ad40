"""The story of a run, for people who replay a seed."""

from collections.abc import Callable, Mapping
from typing import Any


class Narrator:
    """Collects what happened; also stands in the functions' logger's place."""

    def __init__(self, *, listening: bool = False) -> None:
        self.listening = listening
        self.lines: list[str] = []
        self.clock: Callable[[], float] = float
        self.heard: Callable[[str, Mapping[str, Any]], None] | None = None
        """Gets each line that the functions log, and its details."""

    def tell(self, text: str) -> None:
        """Note one event."""
        if self.listening:
            self.lines.append(f"{self.clock():12.3f}  {text}")

    def info(self, text: str, **details: Any) -> None:
        """As a logger's."""
        if self.heard is not None:
            self.heard(text, details.get("extra") or {})
        if self.listening:
            self.tell(f"    log: {text} {_shown(details)}")

    warning = info
    error = info


def _shown(details: Mapping[str, Any]) -> str:
    extra = details.get("extra") or {}
    shown = " ".join(f"{name}={value}" for name, value in extra.items())
    problem = details.get("exc_info")
    return f"{shown} {problem!r}" if problem else shown
