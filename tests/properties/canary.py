"""Values that are easy to find again wherever they must not be."""

from typing import Final

CURRENT: Final = "canary-token-current-Zk3vQ8xT1mWb"
PREVIOUS: Final = "canary-token-previous-Hs7nLd0pRfYc"
APP_KEY: Final = "canary-app-key-b1946ac92492"
SECRET_KEY: Final = "canary-secret-key-d3b07384d113"
SIGNING_SECRET: Final = "whsec_Y2FuYXJ5LXNpZ25pbmctc2VjcmV0LTMyLWJ5dGVzISE="
PREVIOUS_SIGNING_SECRET: Final = "whsec_Y2FuYXJ5LXByZXZpb3VzLXNpZ25pbmctc2VjcmV0ISE="

PARAMS: Final = "canary!params!customer"
"""Has a character that no id has, so that nothing well-formed can carry it further."""

QUOTED: Final = "canary!params!quoted"
"""The same, where it may be quoted: in a job's reason."""

SECRETS: Final = (
    CURRENT,
    PREVIOUS,
    APP_KEY,
    SECRET_KEY,
    SIGNING_SECRET.removeprefix("whsec_"),
    PREVIOUS_SIGNING_SECRET.removeprefix("whsec_"),
)
