"""How AWS names what is not of this deployment: the ARNs that a setting may hold."""

from typing import Final

from stacks.rules import Texts

_ARN: Final = "arn:aws[a-z-]*"
_PLACE: Final = r"[a-z0-9-]+:[0-9]{12}"

BUCKETS: Final = Texts(
    r"(?!.*\.\.)(?![0-9]+(\.[0-9]+){3}$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "bucket names with commas between them, each 3 to 63 lower-case letters, digits, "
    "inner dots and hyphens",
)

KEYS: Final = Texts(
    rf"{_ARN}:kms:{_PLACE}:key/[A-Za-z0-9-]+",
    "ARNs of KMS keys with commas between them, none of an alias",
)

SENDERS: Final = Texts(
    "|".join(
        (
            "[0-9]{12}",
            rf"{_ARN}:iam::[0-9]{{12}}:(role|user)/[A-Za-z0-9_+=.@/-]+",
            rf"{_ARN}:sns:{_PLACE}:[A-Za-z0-9_-]+(\.fifo)?",
            rf"{_ARN}:events:{_PLACE}:rule/[A-Za-z0-9_./-]+",
        )
    ),
    "account ids of 12 digits, and ARNs of IAM roles and users, SNS topics and EventBridge rules, "
    "with commas between them",
)
