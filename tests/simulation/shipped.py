"""The functions' own handlers, as modules."""

import importlib.util
from types import ModuleType
from unittest.mock import patch

from reportflow import cold_start
from stacks.packaging import REPOSITORY


def _load(name: str) -> ModuleType:
    path = REPOSITORY / "functions" / name / "handler.py"
    spec = importlib.util.spec_from_file_location(f"{name}_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What a deployed function does before its first event needs AWS.
    with patch.object(cold_start, "prepare"):
        spec.loader.exec_module(module)
    return module


submitter, webhook, downloader = map(_load, ("submitter", "webhook", "downloader"))
