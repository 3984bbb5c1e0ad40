"""ReportFlow on this machine: its contract over HTTP, real PDFs, and faults on request."""

from local.emulator.service import Emulator
from local.emulator.settings import EmulatorSettings

__all__ = ["Emulator", "EmulatorSettings"]
