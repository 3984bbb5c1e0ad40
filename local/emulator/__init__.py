"""ReportFlow on this machine: both contracts over HTTP, real PDFs, and faults on request."""

from local.emulator.service import Emulator
from local.emulator.settings import (
    UNLIMITED,
    Contract,
    EmulatorSettings,
    Ids,
    UrlForm,
    harshest,
)

__all__ = [
    "UNLIMITED",
    "Contract",
    "Emulator",
    "EmulatorSettings",
    "Ids",
    "UrlForm",
    "harshest",
]
