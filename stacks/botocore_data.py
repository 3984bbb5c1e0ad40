"""Cuts botocore's data down to the operations that the functions call.

botocore reads its descriptions of services at each cold start, and most of what they describe is
never called: more than 400 services, and operations and prose of those that are.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from botocore.loaders import Loader

OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "dynamodb": frozenset({"GetItem", "Query", "UpdateItem"}),
    "events": frozenset({"PutEvents"}),
    # botocore itself asks HeadBucket for the region of a bucket that is elsewhere.
    "s3": frozenset({"GetObject", "HeadBucket", "HeadObject", "PutObject"}),
    "secretsmanager": frozenset({"GetSecretValue"}),
    "sqs": frozenset(
        {"ChangeMessageVisibility", "GetQueueAttributes", "SendMessage", "SendMessageBatch"}
    ),
}
"""What the functions call, by service. A client for another service fails with
UnknownServiceError, and one of these clients has no method for another operation."""

_MODEL: Final = "service-2"
_KEPT: Final = {"endpoint-rule-set-1.json", "endpoint-rule-set-1.json.gz"}


def trim(data: Path) -> None:
    """Leave of botocore's `data` folder what `OPERATIONS` needs, the same bytes each time."""
    loader = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    for folder in [path for path in data.iterdir() if path.is_dir()]:
        if folder.name in OPERATIONS:
            version = loader.determine_latest_version(folder.name, _MODEL)
            model = loader.load_service_model(folder.name, _MODEL, version)
            _clear(folder, version)
            _write(folder / version / f"{_MODEL}.json", _only(model, OPERATIONS[folder.name]))
        else:
            shutil.rmtree(folder)
    endpoints = data / "endpoints.json"
    known: dict[str, Any] = json.loads(endpoints.read_bytes())
    for partition in known["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in OPERATIONS}
    _write(endpoints, known)


def _clear(service: Path, version: str) -> None:
    """Remove other versions, examples, paginators and waiters."""
    for folder in service.iterdir():
        if folder.name != version:
            shutil.rmtree(folder)
    for file in (service / version).iterdir():
        if file.name not in _KEPT:
            file.unlink()


def _only(model: Mapping[str, Any], operations: frozenset[str]) -> Mapping[str, Any]:
    """Return the model with these operations and the shapes they lead to."""
    kept = {name: model["operations"][name] for name in sorted(operations)}
    shapes: Mapping[str, Any] = model["shapes"]
    wanted: set[str] = set()
    found = set(_shapes_in(kept))
    while found:
        wanted |= found
        found = {name for each in found for name in _shapes_in(shapes[each])} - wanted
    return {**model, "operations": kept, "shapes": {name: shapes[name] for name in sorted(wanted)}}


def _shapes_in(described: object) -> Iterator[str]:
    if isinstance(described, dict):
        if isinstance(name := described.get("shape"), str):
            yield name
        for part in described.values():
            yield from _shapes_in(part)
    elif isinstance(described, list):
        for part in described:
            yield from _shapes_in(part)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(_without_prose(content), separators=(",", ":")))


def _without_prose(described: Any) -> Any:  # noqa: ANN401  (JSON)
    """Empty the documentation. A member of that name is described by an object, and stays."""
    if isinstance(described, dict):
        return {
            key: "" if key == "documentation" and isinstance(part, str) else _without_prose(part)
            for key, part in described.items()
        }
    if isinstance(described, list):
        return [_without_prose(part) for part in described]
    return described
