"""What a batch of the largest payloads takes of the submitter's memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from reportflow.contract import CONTRACTS
from stacks.conflicts import LARGEST_MB, PAYLOAD_MB, READING_MB
from stacks.packaging import REPOSITORY
from tests.unit.samples import DESIGN_ID

ROW = '{"name":"Item 000001","quantity":17,"price":"100.50"}'


# In a process of its own: the peak is that of the whole process, since its beginning.
PROGRAM = """
import sys
from pathlib import Path
from threading import Barrier, Thread

from reportflow.contract import CONTRACTS
from reportflow.contract.files import Mark
from reportflow.messages import parse_request

BATCH = int(sys.argv[1])
payload = Path(sys.argv[2])
contract = CONTRACTS[sys.argv[3]]


def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


before = peak_mb()
all_at_once = Barrier(BATCH)


def submit():
    body = payload.read_bytes()
    all_at_once.wait()
    sent = contract.body(parse_request(body, contract), Mark("job", "tag"))
    all_at_once.wait()
    assert len(sent) >= len(body)


threads = [Thread(target=submit) for _ in range(BATCH)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(peak_mb() - before)
"""


@pytest.mark.parametrize(
    ("contract", "value", "batch"),
    [
        ("workspace", ROW, 10),
        pytest.param("workspace", "1.5", 2, marks=pytest.mark.slow),
        ("workspace", "{}", 2),
        pytest.param("central", ROW, 4, marks=pytest.mark.slow),
        pytest.param("central", "{}", 2, marks=pytest.mark.slow),
    ],
)
def test_a_batch_of_the_largest_payloads_takes_what_the_settings_are_checked_against(
    contract: str, value: str, batch: int, tmp_path: Path
) -> None:
    """Rows are what a body is made of; the others take the most that was found, and long."""
    largest = CONTRACTS[contract].max_request_bytes
    values = ",".join([value] * (largest // len(f"{value},")))
    content = f'{{"fileName":"a.pdf","params":{{"values":[{values}]}}}}'
    payload = tmp_path / "payload.json"
    payload.write_text(f'{{"designId":"{DESIGN_ID}","version":1,"content":{content}}}')

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(batch), str(payload), contract],
        env={"PYTHONPATH": str(REPOSITORY / "layers/reportflow")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= (READING_MB + batch * PAYLOAD_MB) * LARGEST_MB[contract] / 20


def test_the_settings_are_checked_against_what_each_contract_allows() -> None:
    allowed = {name: contract.max_request_bytes for name, contract in CONTRACTS.items()}
    assert allowed == {name: size * 1024 * 1024 for name, size in LARGEST_MB.items()}
