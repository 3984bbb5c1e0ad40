"""Messages that can never succeed, and thousands of dead letters that now can."""

import json
import signal
from dataclasses import dataclass

from local.emulator.fault_plan import Call
from local.emulator.faults import Oversize, Status
from tests.incidents.drill import Drill
from tests.incidents.site import message
from tests.pipeline.driver import until
from tests.pipeline.faulty import DEAD_LETTER_QUEUES

UNKNOWN_DESIGN = "00000000-0000-4000-8000-000000000000"
QUICKLY = ("--per-minute", "6000")
"""The emulator has no limit, and nobody waits for two hours."""

TOO_LARGE = 1024 * 1024 + 1
"""Bytes of a PDF above `max_file_mb = 1`."""

SLOWLY = ("--per-minute", "1200")
"""So that there is time to break it off, however many dead letters there are."""


@dataclass(frozen=True)
class Poison:
    """A message that must be given up, why, and what upstream sends in its place, if anything."""

    text: str
    reason: str
    fixed: str = ""


def _poisons(drill: Drill, known: str) -> list[Poison]:
    """One of each kind; `known` is a job that is another document's."""
    fixed = {job_id: message(job_id) for job_id in drill.new_jobs(3, "fixed")}
    [surprising, designless, numberless] = fixed.values()
    text = json.dumps
    null = {"fileName": "null.pdf", "params": {"amount": None}}
    return [
        Poison(text(message("unfinished"))[:-9], "INVALID_MESSAGE"),
        Poison(text({**surprising, "surprise": 1}), "INVALID_MESSAGE", text(surprising)),
        Poison(text({**designless, "designId": UNKNOWN_DESIGN}), "HTTP_404", text(designless)),
        Poison(text({**numberless, "content": null}), "HTTP_400", text(numberless)),
        Poison(text({**message(known), "version": 2}), "JOB_ID_REUSED"),
    ]


def poison_messages(drill: Drill) -> None:
    """Among good messages there are some that no retry helps; upstream fixes what it can."""
    driver = drill.site.faulty.driver
    good = drill.submit(drill.site.scale.jobs)
    poisons = _poisons(drill, good[0])
    for poison in poisons:
        message_id = driver.send(poison.text)
        if not poison.fixed:
            drill.given_up.append(message_id)
    drill.submit(drill.site.scale.jobs, "later")
    reasons = sorted({poison.reason for poison in poisons})
    for reason in reasons:
        drill.until_shown("dead-letter-queues", reason)
    for poison in poisons:
        if poison.fixed:
            driver.send(poison.fixed)
    drill.wait(drill.job_ids)
    drill.drop(reasons, [poison.text for poison in poisons])


def redrive_of_thousands(drill: Drill) -> None:
    """Designs were gone and files too large, and the redrive is broken off twice."""
    scale, driver = drill.site.scale, drill.site.faulty.driver
    poisons = [f"{drill.label} is no JSON: {number}" for number in range(scale.letters // 20)]
    with (
        drill.fault((Call.SUBMIT, Status(404)), prefix="deleted"),
        drill.fault((Call.DOWNLOAD, Oversize(TOO_LARGE)), prefix="large"),
    ):
        large = drill.submit(scale.letters // 10, "large")
        drill.given_up += [driver.send(poison) for poison in poisons]
        deleted = drill.submit(scale.letters - len(large) - len(poisons), "deleted")
        drill.wait([*large, *deleted], ends=("FAILED",))
        drill.until_shown("dead-letter-queues", "HTTP_404")
        drill.until_shown("dead-letter-queues", "FILE_TOO_LARGE")
    redrive = ("dlq", "redrive", "--all", *QUICKLY)
    drill.note(redrive, told_by=drill.site.operations)
    for number in [signal.SIGINT] if scale.hurries else [signal.SIGINT, signal.SIGKILL]:
        slowly = ("dlq", "redrive", "--all", *SLOWLY)
        stopped = drill.site.interrupt(slowly, scale.letters // 4, number)
        assert stopped.status == (130 if number == signal.SIGINT else -number), stopped.stderr

    def sent_back() -> bool | None:
        done = drill.site.run(*redrive)
        assert done.status in {0, 1}, done.stderr
        letters = drill.site.letters()
        left = sum(map(driver.messages_left, DEAD_LETTER_QUEUES.values()))
        return (left == len(letters) and set(letters) <= set(drill.given_up)) or None

    until(sent_back, 120 + scale.letters, "all dead letters are sent back")
    drill.wait(drill.job_ids)
    drill.until_shown("dead-letter-queues", "INVALID_MESSAGE", at_least=len(poisons))
    drill.drop(["INVALID_MESSAGE"], poisons)
