"""JSON Schemas of messages and events, made from the types that the functions use."""

import json
import re
from typing import Any, Final

import msgspec

from reportflow.contract.central import CentralContent
from reportflow.contract.document import END
from reportflow.contract.workspace import JAPANESE, WorkspaceContent
from reportflow.events import DETAIL_TYPES, SOURCE, PdfArchived, PdfFailed
from reportflow.messages import GenerationRequest

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

TYPES: Final[dict[str, type[msgspec.Struct]]] = {
    "request": GenerationRequest[WorkspaceContent],
    "request-central": GenerationRequest[CentralContent],
    "pdf-archived": PdfArchived,
    "pdf-failed": PdfFailed,
}


_JAPANESE: Final = "".join(f"{first}-{last}" for first, last in JAPANESE)
FILE_NAMES: Final = {
    "request": rf"^(?!\.)[A-Za-z0-9._{_JAPANESE}-]{{1,200}}" + END,
    "request-central": r'^(?=.*\S)(?!\s*\.pdf$)[^/\\:*?"<>|\x00-\x1f\x7f-\x9f]{1,200}' + END,
}
"""The contracts' rules for file names, which the functions check without a regular expression."""


def schema(name: str) -> dict[str, Any]:
    """Return the schema of a request message, or of a whole event as a rule's target gets it."""
    described = TYPES[name]
    text = re.sub(r"(GenerationRequest)[\[_]\w+?Content[\]_]", r"\1", _schema_of(described))
    made = _in_camel_case(json.loads(text))
    if name in FILE_NAMES:
        [content] = [each for each in made["$defs"] if each.endswith("Content")]
        properties = made["$defs"][content]["properties"]
        properties["fileName"] = {"pattern": FILE_NAMES[name], **properties["fileName"]}
    if described not in DETAIL_TYPES:
        return {"$schema": DIALECT, **made}
    return {
        "$schema": DIALECT,
        "title": DETAIL_TYPES[described],
        "type": "object",
        "properties": {
            "source": {"const": SOURCE},
            "detail-type": {"const": DETAIL_TYPES[described]},
            "detail": {"$ref": made["$ref"]},
        },
        "required": ["source", "detail-type", "detail"],
        "$defs": made["$defs"],
    }


def _schema_of(described: type[msgspec.Struct]) -> str:
    return json.dumps(msgspec.json.schema(described))


def _in_camel_case(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the schema with fields' names in its descriptions as they are in the JSON."""
    if isinstance(value, dict):
        return {
            key: _rename(part) if key == "description" else _in_camel_case(part)
            for key, part in value.items()
        }
    return [_in_camel_case(part) for part in value] if isinstance(value, list) else value


def _rename(text: str) -> str:
    def camel(name: re.Match[str]) -> str:
        first, *others = name[1].split("_")
        return "`" + first + "".join(map(str.capitalize, others)) + "`"

    return re.sub(r"`([a-z]+(?:_[a-z]+)+)`", camel, text)
