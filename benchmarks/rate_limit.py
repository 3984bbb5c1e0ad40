"""What does keeping the rate limit cost, and what does it save?

See README.md for the method.
"""

import json
import statistics
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from local.emulator import EmulatorSettings
from local.system import Options, System, run
from tests.pipeline.driver import Driver, body

REQUESTS_A_JOB: Final = 2
LONGEST_SECONDS: Final = 1800.0


@dataclass(frozen=True)
class Result:
    """Many jobs, from the first message to the last PDF."""

    seconds: float
    requests: int
    put_back: Counter[str]

    @property
    def per_minute(self) -> float:
        """Requests that ReportFlow answered with what was asked for."""
        return self.requests / self.seconds * 60


def measure(jobs: int, limit: int, burst: int, *, limited: bool) -> Result:
    """Send so many jobs at once to a ReportFlow that refuses what is above its limit."""
    options = Options(
        settings={
            "reportflow_requests_per_minute": str(limit if limited else 0),
            "reportflow_burst": str(burst),
            # The checks would ask as well.
            "check_delay_seconds": "900",
        },
        emulator=EmulatorSettings(render_seconds=(0, 0), requests_per_minute=limit),
    )
    with run(options, _silent) as system, closing(Driver(asdict(system.state))) as driver:
        begun = time.monotonic()
        job_ids = [f"job-{number}" for number in range(jobs)]
        for job_id in job_ids:
            driver.send(body(job_id))
        ended = [driver.ended(job_id, LONGEST_SECONDS) for job_id in job_ids]
        seconds = time.monotonic() - begun
        if any(job["status"] != "ARCHIVED" for job in ended):
            sys.exit("A job has failed: the figures would say nothing.")
        return Result(seconds, REQUESTS_A_JOB * jobs, _put_back(system))


def _put_back(system: System) -> Counter[str]:
    """How often messages were put back, by reason, from the functions' logs."""
    counted: Counter[str] = Counter()
    for pool in system.pools.values():
        for line in pool.log_path.read_bytes().splitlines():
            if b'"will be tried again"' in line:
                counted[json.loads(line)["error_code"]] += 1
    return counted


def _silent(_: str) -> None:
    pass


def _benchmark(
    jobs: Annotated[int, typer.Option(min=1, help="Sent at once.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Of each, one after the other.")] = 3,
    limit: Annotated[int, typer.Option(help="ReportFlow's, requests a minute.")] = 100,
    burst: Annotated[int, typer.Option(help="Of ours.")] = 1,
) -> None:
    """Measure the same jobs with the rate limiter and without."""
    print(f"{jobs} jobs at once, {rounds} rounds, ReportFlow takes {limit} requests a minute")
    rates: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(rounds):
        for name, rate in rates.items():
            result = measure(jobs, limit, burst, limited=name == "with")
            rate.append(result.per_minute)
            reasons = ", ".join(f"{code} {count}" for code, count in result.put_back.most_common())
            print(
                f"round {number + 1}, {name} the rate limiter: {result.seconds:.0f} s, "
                f"{result.per_minute:.1f} requests a minute, put back: {reasons or 'nothing'}",
                flush=True,
            )
    ours, without = (statistics.median(each) for each in rates.values())
    print(
        f"Medians: with it {ours:.1f} ({min(rates['with']):.1f} to {max(rates['with']):.1f}), "
        f"without {without:.1f} ({min(rates['without']):.1f} to {max(rates['without']):.1f}): "
        f"{ours / without:.2f} times as many; {ours / limit:.0%} of the limit"
    )


if __name__ == "__main__":
    typer.run(_benchmark)
