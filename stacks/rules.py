"""What the value of a setting may be. Values come typed from cdk.json and as text from `-c`."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_TAG = re.compile(r"(?!aws:)[\w .:/+@-]{1,128}=[\w .:/+@-]{0,256}")


@dataclass(frozen=True)
class Integer:
    """A whole number between two bounds, both allowed."""

    minimum: int
    maximum: int

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        return f"a whole number from {self.minimum} to {self.maximum}"

    def parse(self, raw: object) -> int:
        """Return the number; ValueError if it is none or outside the bounds."""
        # A number that came through JavaScript may be 30.0.
        match = re.fullmatch(r"([0-9]{1,9})(\.0)?", str(raw))
        if match is None or not self.minimum <= int(match[1]) <= self.maximum:
            raise ValueError(self.allowed)
        return int(match[1])


@dataclass(frozen=True)
class Text:
    """Text that a pattern matches as a whole."""

    pattern: str
    allowed: str

    def parse(self, raw: object) -> str:
        """Return the text; ValueError if it is none or does not match."""
        if not isinstance(raw, str) or not re.fullmatch(self.pattern, raw):
            raise ValueError(self.allowed)
        return raw


@dataclass(frozen=True)
class OneOf[T: (str, int)]:
    """One of the listed values."""

    values: Sequence[T]

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        return "one of " + ", ".join(str(value) for value in self.values)

    def parse(self, raw: object) -> T:
        """Return the listed value; ValueError if there is none like it."""
        for value in self.values:
            if not isinstance(raw, bool) and raw in (value, str(value)):
                return value
        raise ValueError(self.allowed)


@dataclass(frozen=True)
class Texts:
    """Texts that a pattern matches, each as a whole: a list, or text with commas between them."""

    pattern: str
    allowed: str

    def parse(self, raw: object) -> tuple[str, ...]:
        """Return the texts without repeats; ValueError if one does not match."""
        if raw == "":
            return ()
        parts = raw if isinstance(raw, list) else str(raw).split(",")
        texts = tuple(dict.fromkeys(str(part).strip() for part in parts))
        if not all(re.fullmatch(self.pattern, text) for text in texts):
            raise ValueError(self.allowed)
        return texts


@dataclass(frozen=True)
class Tags:
    """Tags as AWS allows them: an object, or text with commas between key=value."""

    allowed: str = (
        "tags: key=value with commas between them, each of letters, digits, spaces and "
        "_ . : / + - @, at most 128 characters before the = and 256 behind it, and none that "
        "begins with aws:"
    )

    def parse(self, raw: object) -> tuple[str, ...]:
        """Return each as key=value; ValueError if AWS would refuse one, or a key comes twice."""
        if raw == "":
            return ()
        if isinstance(raw, dict):
            tags = [f"{key}={value}" for key, value in raw.items()]
        else:
            tags = [part.strip() for part in str(raw).split(",")]
        keys = {tag.partition("=")[0] for tag in tags}
        if len(keys) < len(tags) or not all(_TAG.fullmatch(tag) for tag in tags):
            raise ValueError(self.allowed)
        return tuple(tags)


@dataclass(frozen=True)
class BaseUrl:
    """The base URL of a service: https, or http to this very machine."""

    allowed: str = (
        "an https URL (http only to 127.0.0.1, ::1 or localhost) of host, port and path, "
        "without user, query or fragment"
    )

    def parse(self, raw: object) -> str:
        """Return the URL without a slash at its end; ValueError if credentials could leak."""
        if not isinstance(raw, str) or re.search(r"[\s\\?#@]", raw):
            raise ValueError(self.allowed)
        url = urlsplit(raw)
        secure = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname))
        if not secure or not _has_valid_host(url):
            raise ValueError(self.allowed)
        return raw.rstrip("/")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _has_valid_host(url: SplitResult) -> bool:
    # Reading the port checks it: ValueError for one that is no port.
    return bool(url.hostname) and url.port != 0
