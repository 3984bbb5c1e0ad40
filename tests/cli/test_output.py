"""What others wrote reaches the terminal as text that it does not obey."""

import json
from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from cli import output

HOSTILE = "a\x1b[2J\x1b]0;title\x07b\nFAILED c\r\td\x9b31m\x7f :x: [bold]e[/] [/x] \\"
SHOWN = r"a\x1b[2J\x1b]0;title\x07b FAILED c  d\x9b31m\x7f :x: [bold]e[/] [/x] " + "\\"


@pytest.mark.parametrize("way", ["note", "say", "cell"])
def test_control_characters_are_shown_and_not_obeyed(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "note":
        output.note(HOSTILE, style="red")
    elif way == "say":
        output.say(HOSTILE)
    else:
        output.out().print(output.table(("",), [[HOSTILE]]))

    printed = capsys.readouterr()
    [line] = [text.strip() for text in (printed.out + printed.err).split("\n") if text.strip()]
    assert line == SHOWN


def test_a_line_for_programs_is_json_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.json_line({"message": HOSTILE})

    line = capsys.readouterr().out
    assert json.loads(line) == {"message": HOSTILE}
    assert line.rstrip("\n").isprintable()


UUID = "550e8400-e29b-41d4-a716-446655440000"
ROWS = [(UUID, "SUBMITTED", "3d 4h", "2026-01-31T08:05:09.120Z", "ReportFlow answered 404")]
COLUMNS = ("job", "status", "since", "last step", "reason")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_width_breaks_a_word_or_an_id(width: int) -> None:
    console = Console(file=StringIO(), width=width)

    console.print(output.table(COLUMNS, ROWS, width))

    shown = cast("StringIO", console.file).getvalue()
    assert {UUID, "SUBMITTED", ROWS[0][3], "ReportFlow", "404"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= width


def test_a_wide_screen_has_one_line_a_row() -> None:
    console = Console(file=StringIO(), width=120)

    console.print(output.table(COLUMNS, ROWS * 2, 120))

    assert len(cast("StringIO", console.file).getvalue().splitlines()) == 3
