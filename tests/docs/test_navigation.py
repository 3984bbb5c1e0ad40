"""The site leads to every page."""

import tomllib
from typing import Any

from local.paths import REPOSITORY
from tests.docs.blocks import PAGES


def _pages(entries: list[dict[str, Any]]) -> set[str]:
    found = set()
    for entry in entries:
        for target in entry.values():
            found |= {target} if isinstance(target, str) else _pages(target)
    return found


def test_every_page_is_in_the_navigation() -> None:
    project = tomllib.loads((REPOSITORY / "zensical.toml").read_text())["project"]
    folder = REPOSITORY / project["docs_dir"]
    assert {folder / page for page in _pages(project["nav"])} == set(PAGES[1:])
