"""One incident from its beginning to its end: what showed it, what ended it, what is left."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from local.emulator.fault_plan import Call
from local.emulator.faults import AnyDispatchFault, AnyHttpFault
from tests.incidents.site import Done, Site, Stream, message
from tests.pipeline.driver import new_id, until
from tests.pipeline.faulty import on

HOUR = timedelta(hours=1)

LOOK_SECONDS = 4
"""Between two looks of the operator: each forges a webhook, to see it refused."""

HEALTHY_SECONDS = 120

OF_THE_PAST = frozenset({"counters", "alarms", "attempts", "queues"})
"""Checks that report what was counted or measured in the last hour, whether or not it goes on."""


@dataclass(frozen=True)
class Shown:
    """What an operator read, how many seconds after the beginning, and what it said to do."""

    check: str
    severity: str
    what: str
    remedy: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """An incident's row: `failed` were given up on purpose, `twice` may have been made twice."""

    incident: str
    shown: Sequence[Shown]
    ended_by: Sequence[str]
    jobs: int
    archived: int
    failed: int
    twice: int
    lost: int
    afterwards: Sequence[str]
    seconds: float


@dataclass
class Drill:
    """An incident on a site, while it lasts.

    `job_ids` are those that must be archived, `given_up` those that an operator dropped.
    """

    site: Site
    name: str
    label: str
    before: Collection[tuple[str, str]]
    begun: float = field(default_factory=time.monotonic)
    job_ids: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    ended_by: list[str] = field(default_factory=list)

    def new_jobs(self, count: int, label: str = "job") -> list[str]:
        """Ids of jobs that must be archived in the end."""
        ids = [f"{self.label}-{label}-{number}" for number in range(count)]
        self.job_ids += ids
        return ids

    def submit(self, count: int, label: str = "job") -> list[str]:
        """Have upstream send good messages, by the command line; their ids."""
        ids = self.new_jobs(count, label)
        lines = "\n".join(json.dumps(message(job_id)) for job_id in ids)
        with (self.folder / f"{label}.jsonl").open("w") as file:
            file.write(lines)
        done = self.site.run("submit", file.name)
        assert done.status == 0, done.stderr
        return ids

    def send(self, job_id: str) -> None:
        """Have upstream send one good message by itself."""
        self.site.faulty.driver.send(message(job_id))

    @property
    def folder(self) -> Path:
        """For what the commands read and write."""
        folder = self.site.state.parent / self.label
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def interval(self) -> float:
        """Seconds between two jobs of a stream, so that a long outage has a few hundred."""
        return max(0.5, self.site.scale.outage_seconds / 300)

    @contextmanager
    def stream(self, seconds: float = 0.5) -> Iterator[Stream]:
        """Let jobs come in steadily for as long as the context lasts."""
        stream = Stream(self.site, f"{self.label}-stream", seconds)
        stream.start()
        try:
            yield stream
        finally:
            self.job_ids += stream.stop()

    @contextmanager
    def fault(
        self, *calls: tuple[Call, AnyHttpFault | AnyDispatchFault], prefix: str = ""
    ) -> Iterator[None]:
        """Let ReportFlow do that to all jobs of this incident whose label begins so, until left."""
        faults = [on(call, fault, None, prefix=f"{self.label}-{prefix}") for call, fault in calls]
        with self.site.faulty_reportflow(faults):
            yield

    def strike(self) -> None:
        """Say that only now something goes wrong."""
        self.begun = time.monotonic()

    def outlast(self, seconds: float) -> None:
        """Let the incident last so long."""
        over = self.begun + seconds
        until(lambda: time.monotonic() > over or None, seconds + 1, "time passes")

    def until_shown(
        self, check: str, *words: str, unfinished: timedelta = HOUR, at_least: int = 0
    ) -> Shown:
        """Run `doctor` until a finding says one of these that was not there before.

        The first number that it reports is `at_least` so large.
        """
        told: list[dict[str, str]] = []

        def look() -> Shown | None:
            told[:] = self.site.doctor(unfinished)
            for each in told:
                is_new = (each["check"], each["what"]) not in self.before
                says = any(word in each["what"] for word in words)
                if each["check"] == check and is_new and says and _first(each["what"]) >= at_least:
                    return Shown(seconds=time.monotonic() - self.begun, **each)
            return None

        try:
            seconds = self.site.scale.shown_seconds
            shown = until(now_and_then(look), seconds, f"doctor's {check} says {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {told}") from None
        self.shown.append(shown)
        print(f"  after {shown.seconds:.0f} s, {shown.check}: {shown.what}")
        print(f"    → {shown.remedy}", flush=True)
        return shown

    def command(
        self, *arguments: str, told_by: str, stdin: str = "", statuses: Collection[int] = (0,)
    ) -> Done:
        """Run the command that ends the incident; a document or finding must have named it."""
        self.note(arguments, told_by)
        done = self.site.run(*arguments, stdin=stdin)
        assert done.status in statuses, f"{arguments} ends with {done.status}: {done.stderr}"
        return done

    def note(self, arguments: Sequence[str], told_by: str) -> None:
        """Note a command that is run as `told_by` has it, whatever else its options are."""
        words = [word for word in arguments if re.fullmatch("[a-z][a-z-]*", word)]
        named = " ".join(words[: 2 if words[0] == "dlq" else 1])
        assert f"reportflow {named}" in told_by, f"no text names {named}"
        self.done(" ".join(arguments))

    def redrive(self, reason: str) -> None:
        """Send the dead letters of a reason back, as `dlq explain` has it, until none is left."""
        told = self.site.run("dlq", "explain", reason).stdout
        runs = 0

        def redriven() -> bool | None:
            nonlocal runs
            self.site.hurry()
            self.command("dlq", "redrive", "--reason", reason, told_by=told, statuses=(0, 1))
            runs += 1
            return not self.letters() or None

        until(redriven, self.site.scale.end_seconds, f"no dead letter says {reason}")
        if runs > 1:
            self.ended_by[-1] += f" ({runs} times)"

    def drop(self, reasons: Sequence[str], bodies: Sequence[str]) -> None:
        """Drop the dead letters of these reasons; exactly these bodies are kept in a file."""
        kept = self.folder / "dropped.jsonl"
        named = [word for reason in reasons for word in ("--reason", reason)]
        command = ("dlq", "drop", *named, "--yes", "--save-to", str(kept))
        self.command(*command, told_by=self.site.operations)
        saved = [json.loads(line)["body"] for line in kept.read_text().splitlines()]
        # A redrive that was killed can leave two dead letters of one message.
        assert set(saved) == set(bodies)

    def nothing(self, told_by: str) -> None:
        """Note that nothing is to be done, as the operations page has it."""
        assert told_by in self.site.operations
        self.done("nothing")

    def done(self, what: str) -> None:
        """Note what ended the incident."""
        if what not in self.ended_by:
            self.ended_by.append(what)
            print(f"  ended by: {what}", flush=True)

    def letters(self) -> int:
        """How many dead letters the incident has."""
        own = {*self.job_ids, *self.given_up}
        return sum(job_id in own for job_id in self.site.letters())

    def wait(self, job_ids: Collection[str], *, ends: Collection[str] = ("ARCHIVED",)) -> None:
        """Wait until the jobs have ended so."""
        driver = self.site.faulty.driver
        deadline = time.monotonic() + self.site.scale.end_seconds
        for job_id in job_ids:

            def look(job_id: str = job_id) -> bool | None:
                self.site.hurry()
                job = driver.job(job_id)
                return (job is not None and job["status"] in ends) or None

            left = max(deadline - time.monotonic(), 1)
            until(look, left, f"{job_id} is {ends}, and not {driver.job(job_id)}")

    def report(self) -> Report:
        """Wait for the ends of all jobs, count what is left of them, and look with `doctor`."""
        self.wait(self.job_ids)
        gone = now_and_then(lambda: not self.letters() or None)
        until(gone, HEALTHY_SECONDS, "no dead letter is left")
        healthy = now_and_then(self._healthy)
        afterwards = until(healthy, HEALTHY_SECONDS, "doctor reports the past only")
        driver, emulator = self.site.faulty.driver, self.site.faulty.emulator
        objects = self.site.archived()
        made = Counter(file.file_name.removesuffix(".pdf") for file in emulator.files())
        twice = 0
        for job_id in self.job_ids:
            job = driver.job(job_id) or {}
            possible = int(job.get("possibleDuplicates", 0))
            assert made[job_id] <= 1 + possible, f"{job_id} was made {made[job_id]} times unseen"
            twice += made[job_id] > 1
        surplus = {job_id for job_id in objects if job_id.startswith(self.label)}
        assert surplus <= set(self.job_ids), "the archive holds what nobody asked for"
        archived = sum(objects[job_id] == 1 for job_id in self.job_ids)
        return Report(
            incident=self.name,
            shown=self.shown,
            ended_by=self.ended_by,
            jobs=len(self.job_ids) + len(self.given_up),
            archived=archived,
            failed=len(self.given_up),
            twice=twice,
            lost=len(self.job_ids) - archived,
            afterwards=afterwards,
            seconds=time.monotonic() - self.begun,
        )

    def _healthy(self) -> list[str] | None:
        """What `doctor` still reports; None while that is more than the past."""
        told = [one for one in self.site.doctor() if (one["check"], one["what"]) not in self.before]
        others = [one for one in told if one["check"] not in OF_THE_PAST]
        return None if others else [f"{one['check']}: {one['what']}" for one in told]


def now_and_then[T](look: Callable[[], T | None]) -> Callable[[], T | None]:
    """Look every `LOOK_SECONDS` at most, and find nothing in between."""
    due = time.monotonic()

    def limited() -> T | None:
        nonlocal due
        if time.monotonic() < due:
            return None
        found = look()
        due = time.monotonic() + LOOK_SECONDS
        return found

    return limited


def _first(text: str) -> int:
    """The first number in a text, or 0."""
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0


def begin(site: Site, name: str) -> Drill:
    """Begin an incident; what `doctor` reports already is none of it."""
    before = {(one["check"], one["what"]) for one in site.doctor()}
    return Drill(site, name, new_id(name), before)
