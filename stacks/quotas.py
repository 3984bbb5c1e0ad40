"""AWS's own limits, which settings are checked against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SQS_MAXIMUM_RETENTION_DAYS: Final = 14
SQS_MAXIMUM_RECEIVES: Final = 1000

TMP_MINIMUM_MB: Final = 512
"""The /tmp that Lambda gives to every function, in MiB."""

TMP_MAXIMUM_MB: Final = 10_240

LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The retentions that CloudWatch Logs knows."""


@dataclass(frozen=True)
class StorageClass:
    """What S3 asks of objects that move to a class: days before they may, days that are billed."""

    earliest_days: int
    billed_days: int


# Both answer a GET at once: who fetches a PDF does not notice.
STORAGE_CLASSES: Final[Mapping[str, StorageClass]] = {
    "STANDARD_IA": StorageClass(earliest_days=30, billed_days=30),
    "GLACIER_IR": StorageClass(earliest_days=0, billed_days=90),
}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html"""
