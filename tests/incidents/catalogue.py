"""The ten incidents, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.incidents import of_aws, of_messages, of_reportflow, of_webhooks
from tests.incidents.drill import Drill, Report, begin
from tests.incidents.site import SETTINGS, Site

FEW_ATTEMPTS = {**SETTINGS, "max_attempts": "3"}
"""So that the retries end within seconds, and not in two hours."""


@dataclass(frozen=True)
class Incident:
    """What happens, and the settings of the system that it happens to."""

    play: Callable[[Drill], None]
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)


INCIDENTS: Mapping[str, Incident] = {
    "revoked-key": Incident(of_reportflow.revoked_key),
    "reportflow-down": Incident(of_reportflow.reportflow_down),
    "poison-messages": Incident(of_messages.poison_messages),
    "forged-webhooks": Incident(of_webhooks.forged_webhooks),
    "webhooks-off": Incident(of_webhooks.webhooks_off),
    "bucket-denies": Incident(of_aws.bucket_denies, FEW_ATTEMPTS),
    "table-throttled": Incident(of_aws.table_throttled),
    "stuck-job": Incident(of_reportflow.stuck_job),
    "redrive-of-thousands": Incident(of_messages.redrive_of_thousands),
    "leaked-url": Incident(of_webhooks.leaked_url),
}


def live_through(name: str, site: Site) -> Report:
    """Stage an incident, end it as documented, and count what is left.

    Raises:
        AssertionError: it was not shown, did not end, or something was lost.
    """
    drill = begin(site, name)
    INCIDENTS[name].play(drill)
    return drill.report()
