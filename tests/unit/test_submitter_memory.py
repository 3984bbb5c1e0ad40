"""What a batch of the largest payloads takes of the submitter's memory."""

import json
import subprocess
import sys
from pathlib import Path

from reportflow.messages import MAX_REQUEST_BYTES
from stacks.conflicts import PAYLOAD_MB, READING_MB
from stacks.packaging import REPOSITORY
from tests.unit.samples import DESIGN_ID

BATCH = 10
PART = 2
"""Of the largest body; what it takes grows with its size."""

# In a process of its own: the peak is that of the whole process, since its beginning.
PROGRAM = """
import sys
from pathlib import Path
from threading import Barrier, Thread

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
    sent = parse_request(body).service_body()
    all_at_once.wait()
    assert len(sent) == len(body)


threads = [Thread(target=submit) for _ in range(BATCH)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(peak_mb() - before)
"""


def test_a_batch_of_the_largest_payloads_takes_what_the_settings_are_checked_against(
    tmp_path: Path,
) -> None:
    row = {"name": "Item 000001", "quantity": 17, "price": "100.50"}
    rows = [row] * (MAX_REQUEST_BYTES // PART // len(json.dumps(row, separators=(",", ":"))))
    content = {"fileName": "a.pdf", "params": {"rows": rows}}
    document = {"designId": DESIGN_ID, "version": 1, "content": content}
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps(document, separators=(",", ":")))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(BATCH), str(payload)],
        env={"PYTHONPATH": str(REPOSITORY / "layers/reportflow")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= (READING_MB + BATCH * PAYLOAD_MB) / PART
