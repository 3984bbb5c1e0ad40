"""What `make bench` measured last, which cost sheet, scale model, plots and tables come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.aws_calls import Units
from benchmarks.backlog import Waiting
from benchmarks.bench import Bar, Row

PATH: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Results:
    """The units of a PDF by candidate, those of a backlog, and the rows by question."""

    units: Mapping[str, Units]
    waiting: Waiting
    rows: Mapping[str, Sequence[Row]]

    @classmethod
    def read(cls) -> Self:
        """Read the file."""
        read: Mapping[str, Any] = json.loads(PATH.read_text())
        return cls(
            {name: Units(**of) for name, of in read["units"].items()},
            Waiting(**read["waiting"]),
            {
                question: [Row(**{**row, "kind": Bar(row["kind"])}) for row in rows]
                for question, rows in read["rows"].items()
            },
        )

    def write(self) -> None:
        """Write the file, with four significant digits."""
        text = json.dumps(asdict(self), indent=1, default=str)
        PATH.write_text(json.dumps(_rounded(json.loads(text)), indent=1) + "\n")


def _rounded(value: Any) -> Any:  # noqa: ANN401  (JSON)
    match value:
        case float():
            return float(f"{value:.4g}")
        case list():
            return [_rounded(each) for each in value]
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
    return value
