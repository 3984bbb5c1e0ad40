"""AWS's limits, against which the settings are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SQS_MAXIMUM_RETENTION_DAYS: Final = 14
SQS_MAXIMUM_RECEIVES: Final = 1000

TMP_MINIMUM_MB: Final = 512
"""Size of /tmp that every function has, in MiB."""

TMP_MAXIMUM_MB: Final = 10_240

LogRetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731,
    1096, 1827, 2192, 2557, 2922, 3288, 3653,
]  # fmt: skip
"""The retentions that CloudWatch Logs allows."""

StorageClassName = Literal["STANDARD_IA", "GLACIER_IR"]
"""The storage classes that answer a GET at once, so that readers of a PDF see no difference."""


@dataclass(frozen=True)
class StorageClass:
    """S3's terms for a class: the days before an object may move to it, and the days it bills."""

    earliest_days: int
    billed_days: int


STORAGE_CLASSES: Final[Mapping[StorageClassName, StorageClass]] = {
    "STANDARD_IA": StorageClass(earliest_days=30, billed_days=30),
    "GLACIER_IR": StorageClass(earliest_days=0, billed_days=90),
}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html"""
