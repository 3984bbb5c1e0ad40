"""The types of the settings. Values from cdk.json are typed; values from `-c` are text."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from pydantic.fields import FieldInfo

from stacks.quotas import LogRetentionDays


@dataclass(frozen=True)
class Allowed:
    """Describes the allowed values of a type without numeric bounds."""

    words: str


def allowed(setting: FieldInfo) -> str:
    """Return the allowed values of a setting in words."""
    for each in setting.metadata:
        if isinstance(each, Allowed):
            return each.words
    if get_origin(setting.annotation) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(setting.annotation))
    minimum, maximum = bounds(setting)
    return f"a whole number from {minimum} to {maximum}"


def bounds(setting: FieldInfo) -> tuple[int, int]:
    """Return the minimum and the maximum of a number."""
    (minimum,) = (each.ge for each in setting.metadata if hasattr(each, "ge"))
    (maximum,) = (each.le for each in setting.metadata if hasattr(each, "le"))
    return minimum, maximum


def _split(raw: object) -> list[str]:
    """Return the parts of a list or of comma-separated text, without duplicates."""
    if raw == "":
        return []
    parts = raw if isinstance(raw, list | tuple) else str(raw).split(",")
    return list(dict.fromkeys(str(part).strip() for part in parts))


def _split_tags(raw: object) -> list[str]:
    """Return each tag as key=value."""
    if isinstance(raw, dict):
        return [f"{key}={value}" for key, value in raw.items()]
    return _split(raw)


def _refuse_repeated_keys(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len({tag.partition("=")[0] for tag in tags}) < len(tags):
        raise ValueError
    return tags


def _base_url(url: str) -> str:
    """Return the URL without a slash at its end; ValueError if credentials could leak."""
    if any(character.isspace() or character in "\\?#@" for character in url):
        raise ValueError
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    if not secure or not _has_valid_host(parts):
        raise ValueError
    return url.rstrip("/")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _has_valid_host(url: SplitResult) -> bool:
    # Reading the port checks it: an invalid one raises ValueError.
    return bool(url.hostname) and url.port != 0


_ARN: Final = "arn:aws[a-z-]*"
_PLACE: Final = r"[a-z0-9-]+:[0-9]{12}"

WorkspaceId = Annotated[
    str,
    Field(pattern=r"^(?![-_])[A-Za-z0-9_-]{1,63}(?<![-_])\Z"),
    Allowed("a sub-domain: 1 to 63 letters, digits, inner hyphens and underscores"),
]

BaseUrl = Annotated[
    str,
    AfterValidator(_base_url),
    Allowed(
        "an https URL (http only to 127.0.0.1, ::1 or localhost) of host, port and path, "
        "without user, query or fragment"
    ),
]

OptionalBaseUrl = Annotated[
    str, AfterValidator(lambda url: url and _base_url(url)), Allowed("an https URL, or nothing")
]

EnvironmentName = Annotated[
    str,
    Field(pattern=r"^([a-z][a-z0-9-]{0,30})?\Z"),
    Allowed("the name of an environment, or nothing"),
]

StackPrefix = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,99}\Z"),
    Allowed("a letter, then up to 99 letters, digits and hyphens"),
]

EmailAddress = Annotated[
    str,
    Field(pattern=r"^([^@\s]+@[^@\s]+)?\Z"),
    Allowed("an e-mail address, or nothing"),
]

Tags = Annotated[
    tuple[Annotated[str, Field(pattern=r"^(?!aws:)[\w .:/+@-]{1,128}=[\w .:/+@-]{0,256}\Z")], ...],
    BeforeValidator(_split_tags),
    AfterValidator(_refuse_repeated_keys),
    Allowed(
        "tags: key=value with commas between them; each of letters, digits, spaces and "
        "_ . : / + - @; at most 128 characters before the = and 256 after it; no key twice; none "
        "begins with aws:"
    ),
]

BucketNames = Annotated[
    tuple[
        Annotated[
            str,
            Field(
                pattern=r"^(?!.*\.\.)(?![0-9]+(\.[0-9]+){3}\Z)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z"
            ),
        ],
        ...,
    ],
    BeforeValidator(_split),
    Allowed(
        "bucket names with commas between them, each 3 to 63 lower-case letters, digits, "
        "inner dots and hyphens"
    ),
]

KeyArns = Annotated[
    tuple[Annotated[str, Field(pattern=rf"^{_ARN}:kms:{_PLACE}:key/[A-Za-z0-9-]+\Z")], ...],
    BeforeValidator(_split),
    Allowed("ARNs of KMS keys, not of aliases, with commas between them"),
]

_SENDERS: Final = (
    "[0-9]{12}",
    rf"{_ARN}:iam::[0-9]{{12}}:(role|user)/[A-Za-z0-9_+=.@/-]+",
    rf"{_ARN}:sns:{_PLACE}:[A-Za-z0-9_-]+(\.fifo)?",
    rf"{_ARN}:events:{_PLACE}:rule/[A-Za-z0-9_./-]+",
)

Senders = Annotated[
    tuple[Annotated[str, Field(pattern=rf"^({'|'.join(_SENDERS)})\Z")], ...],
    BeforeValidator(_split),
    Allowed(
        "account ids of 12 digits, and ARNs of IAM roles and users, SNS topics and EventBridge "
        "rules, with commas between them"
    ),
]

# A Literal accepts no number as text.
LogRetention = Annotated[LogRetentionDays, BeforeValidator(TypeAdapter(int).validate_python)]
