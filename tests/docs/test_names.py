"""docs/send.md and docs/receive.md name each field that there is, with its type."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from local.emulator.designs import CATALOG, Structure
from local.paths import REPOSITORY
from reportflow.jobs import Job
from tests.docs.blocks import block

SEND, RECEIVE = ((REPOSITORY / "docs" / page).read_text() for page in ("send.md", "receive.md"))
SCHEMA_TYPES = {"string": "text", "integer": "number", "object": "object"}


def section(page: str, heading: str) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(page: str, heading: str) -> Mapping[str, str]:
    """The names in the first column of a section's table, with what its second column says."""
    found: dict[str, str] = {}
    for names, types in re.findall(
        r"^\| (`[^|]+) \| ([^|]+) \|", section(page, heading), re.MULTILINE
    ):
        each = types.split(", ")
        listed = re.findall(r"`(\w+)`", names)
        found |= zip(listed, each if len(each) == len(listed) else each * len(listed), strict=True)
    return found


def detail(name: str) -> dict[str, Any]:
    """The properties of an event's detail, by its schema."""
    schema = json.loads((REPOSITORY / f"docs/schemas/{name}.json").read_text())
    [definition] = schema["$defs"].values()
    properties: dict[str, Any] = definition["properties"]
    return properties


def test_the_events_fields_are_the_schemas() -> None:
    properties = detail("pdf-archived") | detail("pdf-failed")
    types = {
        name: "time" if each.get("format") == "date-time" else SCHEMA_TYPES[each["type"]]
        for name, each in properties.items()
    }
    assert rows(RECEIVE, "The event") == types


def test_the_example_event_has_the_schemas_fields() -> None:
    example = json.loads(block("docs/receive.md", '{\n  "source"').text)
    assert example["detail"].keys() == detail("pdf-archived").keys()


def test_the_tables_attributes_are_the_records() -> None:
    documented = rows(RECEIVE, "The jobs table")
    own = section(RECEIVE, "The jobs table").partition("The other attributes")[2].partition(".")[2]
    attributes = {
        re.sub(r"_(\w)", lambda part: part[1].upper(), field.name): "N"
        if field.type is int
        else "S"
        for field in msgspec.structs.fields(Job)
    }
    assert documented == {name: attributes[name] for name in documented}
    assert set(re.findall(r"`(\w+)`", own)) == attributes.keys() - documented.keys()


def test_the_local_templates_are_the_emulators() -> None:
    documented = {}
    for line in section(SEND, "Templates on one machine").splitlines():
        match re.findall(r"`([\w-]+)`", line):
            case [design, *names] if "-" in design:
                documented[design] = names
    assert documented == {
        design.id: list(_names(design.versions[1].parameters)) for design in CATALOG
    }


def _names(structure: Structure) -> Iterator[str]:
    for name, kind in structure.items():
        yield name
        if isinstance(kind, list):
            yield from _names(kind[0])
        elif not isinstance(kind, str):
            yield from _names(kind)


def test_the_messages_fields_are_the_schemas() -> None:
    schema = json.loads((REPOSITORY / "docs/schemas/request.json").read_text())
    documented = re.findall(
        r"`([\w.]+)`", " ".join(re.findall(r"^\| (`[^|]+)\|", SEND, re.MULTILINE))
    )
    definitions = schema["$defs"]
    content = next(each for each in definitions.values() if "fileName" in each["properties"])
    message = next(each for each in definitions.values() if "designId" in each["properties"])
    names = {f"content.{name}" for name in content["properties"]}
    assert set(documented) == names | message["properties"].keys() - {"content"}
