"""AWS's rules of good practice: each finding stops the synthesis, or has a reason beside it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from stacks.packaging import REPOSITORY
from tests.stacks.synthesis import CHANGED

# The app as it is, with nothing acknowledged: it says so as it runs.
WITHOUT_ACKNOWLEDGEMENTS = """
import sys
import app
app._find_node()
from stacks import nag

def write_down(construct, rule, reason):
    print("acknowledged", construct.node.path, f"AwsSolutions-{rule}", bool(reason.strip()))

nag.acknowledge = write_down
sys.exit(app.main({}))
"""


def test_a_finding_stops_the_synthesis_and_all_that_is_acknowledged_is_found(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ACKNOWLEDGEMENTS],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PATH": "",
            "CDK_OUTDIR": str(tmp_path),
            "CDK_CONTEXT_JSON": json.dumps(CHANGED),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert "acknowledge it beside its resource" in done.stdout
    acknowledged = set(re.findall(r"^acknowledged (\S+) (.+) True$", done.stdout, re.MULTILINE))
    assert acknowledged
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    found = {
        (construct["constructPath"].removesuffix("/Resource"), violation["ruleName"])
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    }
    assert found == acknowledged
