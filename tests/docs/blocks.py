"""The code blocks of the documents, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from local.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S.*\n(?: {4}.*\n)*)")
SEPARATOR = re.compile(r"[|&;()]+")
KEYWORDS = {"for", "do", "done", "in", "then", "fi", "{", "}"}
ASSIGNMENT = re.compile(r"^\w+=")


@dataclass(frozen=True)
class Block:
    """A code block: its page under the repository, its first line there, its language and text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages, or in any."""
    found = [block for page in PAGES for block in _of_page(page.relative_to(REPOSITORY).as_posix())]
    return [block for block in found if not languages or block.language in languages]


def block(page: str, begins: str) -> Block:
    """The one block of a page that begins so."""
    [found] = [each for each in _of_page(page) if each.text.startswith(begins)]
    return found


def _of_page(page: str) -> Iterator[Block]:
    text = (REPOSITORY / page).read_text()
    for match in FENCE.finditer(text):
        indent, language, content = match.groups()
        lines = [line.removeprefix(indent) for line in content.splitlines(keepends=True)]
        if not language and content.startswith(f"{indent}$ "):
            language = "console"
        yield Block(page, text.count("\n", 0, match.start()) + 2, language, "".join(lines))
    # A block by indentation has no language. Ours are commands.
    prose = FENCE.sub(lambda fenced: "\n" * fenced[0].count("\n"), text)
    for match in INDENTED.finditer(prose):
        lines = [line[4:] for line in match[0].splitlines(keepends=True)]
        yield Block(page, prose.count("\n", 0, match.start()) + 1, "sh", "".join(lines))


def shell(block: Block) -> Block:
    """What a reader types: of a `console` block the lines behind the prompt."""
    if block.language == "sh":
        return block
    typed = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    return replace(block, text="\n".join(typed))


def commands(block: Block) -> list[list[str]]:
    """The simple commands of a shell block, without assignments, redirections and comments."""
    found: list[list[str]] = []
    for line in shell(block).text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        simple: list[str] = []
        for token in [*lexer, ";"]:
            if not SEPARATOR.fullmatch(token):
                simple.append(token)
                continue
            if words := _words(simple):
                found.append(words)
            simple = []
    return found


def _words(simple: list[str]) -> list[str]:
    words = list(simple)
    while words and (ASSIGNMENT.match(words[0]) or words[0] in KEYWORDS):
        loop = words.pop(0) == "for"
        words = [] if loop else words
    for sign in ("<", ">"):
        if sign in words:
            del words[words.index(sign) : words.index(sign) + 2]
    return words
