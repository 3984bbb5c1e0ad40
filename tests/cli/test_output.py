"""What others wrote reaches the terminal as text that it does not obey."""

import json

import pytest

from cli import output

HOSTILE = "a\x1b[2J\x1b]0;title\x07b\nFAILED c\r\td\x9b31m\x7f :x: [bold]e[/] [/x] \\"
SHOWN = r"a\x1b[2J\x1b]0;title\x07b FAILED c  d\x9b31m\x7f :x: [bold]e[/] [/x] " + "\\"


@pytest.mark.parametrize("way", ["tell", "say", "cell"])
def test_control_characters_are_shown_and_not_obeyed(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "tell":
        output.tell(HOSTILE, style="red")
    elif way == "say":
        output.say(HOSTILE)
    else:
        output.out().print(output.table((), [[HOSTILE]]))

    told = capsys.readouterr()
    [line] = [text.strip() for text in (told.out + told.err).split("\n") if text.strip()]
    assert line == SHOWN


def test_a_line_for_programs_is_json_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.json_line({"message": HOSTILE})

    line = capsys.readouterr().out
    assert json.loads(line) == {"message": HOSTILE}
    assert line.rstrip("\n").isprintable()
