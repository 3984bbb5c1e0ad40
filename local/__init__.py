"""The whole pipeline on one machine: emulated AWS, Lambda runner, ReportFlow emulator."""
