"""What a function does before its first event, while Lambda lends it a whole processor.

With 512 MB, a function has 0.29 of one from then on.
"""

from collections.abc import Callable

from reportflow.observability import logger


def prepare(*steps: Callable[[], object]) -> None:
    """Run the steps that the first event would otherwise wait for.

    A step that fails is logged and left to the first event, which needs it and reports why it
    fails. An exception here would stop the function for as long as, say, Secrets Manager is down.
    """
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  (the first event meets it again)
            # Not the error's text, which may quote anything.
            code = getattr(error, "code", type(error).__name__)
            logger().warning("not ready before the first event", extra={"error_code": code})
