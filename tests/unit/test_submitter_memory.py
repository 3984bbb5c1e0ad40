"""What a batch of the largest payloads takes of the submitter's memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from reportflow.contract import WORKSPACE
from stacks.conflicts import PAYLOAD_MB, READING_MB
from stacks.packaging import REPOSITORY
from tests.unit.samples import DESIGN_ID

ROW = '{"name":"Item 000001","quantity":17,"price":"100.50"}'


# In a process of its own: the peak is that of the whole process, since its beginning.
PROGRAM = """
import sys
from pathlib import Path
from threading import Barrier, Thread

from reportflow.contract import WORKSPACE
from reportflow.contract.files import Mark
from reportflow.messages import parse_request

BATCH = int(sys.argv[1])
payload = Path(sys.argv[2])


def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


before = peak_mb()
all_at_once = Barrier(BATCH)


def submit():
    body = payload.read_bytes()
    all_at_once.wait()
    sent = WORKSPACE.body(parse_request(body, WORKSPACE), Mark("job", "tag"))
    all_at_once.wait()
    assert len(sent) == len(body)


threads = [Thread(target=submit) for _ in range(BATCH)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(peak_mb() - before)
"""


@pytest.mark.parametrize(("value", "batch"), [(ROW, 10), ("1.5", 2), ("{}", 2)])
def test_a_batch_of_the_largest_payloads_takes_what_the_settings_are_checked_against(
    value: str, batch: int, tmp_path: Path
) -> None:
    """Rows are what a body is made of; the others take the most that was found, and long."""
    values = ",".join([value] * (WORKSPACE.max_request_bytes // len(f"{value},")))
    content = f'{{"fileName":"a.pdf","params":{{"values":[{values}]}}}}'
    payload = tmp_path / "payload.json"
    payload.write_text(f'{{"designId":"{DESIGN_ID}","version":1,"content":{content}}}')

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(batch), str(payload)],
        env={"PYTHONPATH": str(REPOSITORY / "layers/reportflow")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= READING_MB + batch * PAYLOAD_MB
