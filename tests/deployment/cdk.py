"""The Makefile's own commands, with the pinned CDK CLI, against an emulated AWS."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.backend import Backend
from local.paths import REPOSITORY
from tests.assemblies import JSII_CACHE

MAKE = ("make", "--silent", "--old-file=.venv/installed")
"""The environment that the tests run in is not set up anew under their feet."""

WORKSPACE = "-c workspace_id=rehearsal"
UNATTENDED = "--require-approval=never"


@dataclass(frozen=True)
class Cdk:
    backend: Backend
    folder: Path

    def __call__(self, command: str, environment: str, *options: str) -> str:
        """Run `make COMMAND ENV=…`; what it prints, standard error included."""
        done = self.run(command, environment, *options)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run(
        self, command: str, environment: str, *options: str
    ) -> subprocess.CompletedProcess[str]:
        given = ["--no-notices", f"--output={self.folder / 'cdk.out'}", *options]
        return subprocess.run(
            [*MAKE, command, f"ENV={environment}", f"ARGS={' '.join(given)}"],
            cwd=REPOSITORY,
            env={
                **self.backend.environment,
                **JSII_CACHE,
                # The CLI has the bucket's name in the host otherwise, and no such host is here.
                "AWS_ENDPOINT_URL_S3": self.backend.endpoint_url,
                "AWS_EC2_METADATA_DISABLED": "true",
                "CDK_DISABLE_CLI_TELEMETRY": "true",
                "CI": "true",
                "HOME": str(self.folder),
                "PATH": "/usr/local/bin:/usr/bin:/bin",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
