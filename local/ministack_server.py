"""MiniStack with a CloudFormation that accepts alarms on expressions. MiniStack's Python runs it.

MiniStack itself refuses them, and with them the whole stack. Here it gets an alarm on the
expression's last metric. `local/alarms.py` evaluates the expression.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def main() -> None:
    """Start MiniStack, as `python -m ministack` does."""
    provisioners: Any = import_module("ministack.services.cloudformation.provisioners")
    record = provisioners._cw_metric_alarm_record  # noqa: SLF001  (there is no other way in)

    def with_one_metric(name: str, properties: Mapping[str, Any]) -> object:
        return record(name, on_one_metric(properties))

    provisioners._cw_metric_alarm_record = with_one_metric  # noqa: SLF001  (see above)
    import_module("ministack.app").main()


def on_one_metric(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of an alarm without its expression."""
    stats = [
        query["MetricStat"] for query in properties.get("Metrics", ()) if "MetricStat" in query
    ]
    if not stats:
        return properties
    of = {key: value for key, value in properties.items() if key != "Metrics"}
    stat = stats[-1]
    return {**of, **stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"]}


if __name__ == "__main__":
    main()
