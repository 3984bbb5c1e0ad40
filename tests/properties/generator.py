"""Requests from a model of valid ones, and the same made wrong in every respect.

All decisions come from one `Random`: hypothesis hands in its own and shrinks them, the long run
seeds one.
"""

import json
import string
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from tests.properties import canary
from tests.properties.case import JSON_TYPE, Case
from tests.properties.hostile import BROKEN, BYTES, EVENTS, HEADERS, NUMBERS, TEXTS

DESIGN_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
OWN_KEY: Final = "reportflowJob"
_ID_CHARACTERS: Final = string.ascii_letters + string.digits + "_-"

type Mutation = Callable[[Case, Random], Case]


class Verbatim(str):
    """JSON that is written as it stands."""

    __slots__ = ()


class Members(list[list[Any]]):
    """A JSON object that may say a name twice."""


def written(value: Any) -> str:
    """JSON, valid or not."""
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, Members):
        return "{" + ",".join(f"{written(key)}:{written(part)}" for key, part in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def valid(random: Random) -> Case:
    """A request that ReportFlow could send."""
    event = Members(
        [
            ["event", "file.completed"],
            ["timestamp", "2026-02-15T10:30:45.123Z"],
            ["workspaceId", "acme"],
            ["designId", DESIGN_ID if random.random() < 0.8 else _uuid(random)],
            ["version", random.choice((1, 2, 2**31 - 1))],
            ["files", [_file(random) for _ in range(random.choice((1, 1, 1, 2, 3, 10, 11, 25)))]],
        ]
    )
    if random.random() < 0.1:
        event[0][1] = random.choice(("file.viewed", "", "FILE.COMPLETED", "file.completed "))
    if random.random() < 0.5:
        _make_central(event, random)
    if random.random() < 0.2:
        random.shuffle(event)
    token = random.choice((canary.CURRENT, canary.CURRENT, canary.PREVIOUS))
    headers = JSON_TYPE if random.random() < 0.7 else ()
    signing = random.choice(
        ("current", "previous", "wrong current", "late previous", "early current")
    )
    return Case(
        path=f"/webhooks/{token}",
        headers=headers,
        signing=signing,
        body=written(event).encode(),
    )


def _uuid(random: Random) -> str:
    digits = "".join(random.choice(string.hexdigits) for _ in range(32))
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _id(random: Random) -> str:
    length = random.choice((1, 8, 16, 36, 128))
    return "".join(random.choice(_ID_CHARACTERS) for _ in range(length))


def _file(random: Random) -> Members:
    return Members(
        [
            ["fileId", _id(random)],
            ["uuid", _id(random)],
            ["fileName", random.choice(("a.pdf", "請求書.pdf", ""))],
            ["params", Members([["customerName", canary.PARAMS], ["rows", _params(random, 2)]])],
        ]
    )


def _make_central(event: Members, random: Random) -> None:
    """The event in the form of the contract `central`."""
    event.append(["requestId", _id(random)])
    for name, value in event:
        if name == "files":
            value[:] = [_central_file(file, random) for file in value]


def _central_file(file: Members, random: Random) -> Members:
    """`passthrough` is the caller's, and has the mark of a job if the pipeline has sent it."""
    file_id, _, name, params = file
    share = Members([["shareType", "01"], ["url", "https://x"], ["passcodeEnabled", False]])
    made = Members([file_id, name, ["share", share]])
    if random.random() < 0.8:
        passthrough = Members([params, ["order", _params(random, 2)]])
        if random.random() < 0.8:
            mark = Members([["jobId", _id(random)], ["tag", _id(random)]])
            passthrough.insert(0, [OWN_KEY, mark])
        made.append(["passthrough", passthrough])
    return made


def _params(random: Random, depth: int) -> Any:
    kind = random.randrange(6 if depth else 4)
    if kind == 0:
        return random.choice((0, 1, -1, 10000, 2**53 + 1, 123456789012345678901234567890))
    if kind == 1:
        return Verbatim(random.choice(("1.50", "-0.0", "1e3", "1E-7", "1e400", "10000.10")))
    if kind == 2:
        return random.choice(("", "東京都", "a\x00b", "\U0001f600", canary.PARAMS))
    if kind == 3:
        return random.choice((True, False, None))
    parts = [_params(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 4:
        return parts
    return Members([[f"k{number}", part] for number, part in enumerate(parts)])


def _hostile(random: Random) -> Any:
    kind = random.randrange(6)
    if kind == 0:
        return random.choice((None, True, False, [], [[]], Members(), Members([["", ""]])))
    if kind == 1:
        return random.choice(TEXTS)
    if kind == 2:
        return Verbatim(random.choice(NUMBERS))
    if kind == 3:
        return Verbatim(random.choice(BROKEN))
    if kind == 4:
        depth = random.choice((2, 50, 99, 101, 900, 20_000))
        opened, closed = random.choice((("[", "]"), ('{"a":', "}")))
        return Verbatim(opened * depth + "1" + closed * depth)
    times = random.choice((2, 101, 1001))
    return [random.choice((0, "a", Members(), [], Verbatim("1.5")))] * times


def _parsed(body: bytes) -> Any:
    """The body as something to be changed; None where it is no JSON any more."""
    try:
        return json.loads(
            body,
            object_pairs_hook=lambda pairs: Members([list(pair) for pair in pairs]),
            parse_int=Verbatim,
            parse_float=Verbatim,
            parse_constant=Verbatim,
        )
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> list[tuple[list[Any], int]]:
    """Every list and index at which something stands: members, names, values, elements."""
    places: list[tuple[list[Any], int]] = []
    waiting = [value]
    while waiting and len(places) < 500:
        one = waiting.pop()
        if isinstance(one, list):
            places += [(one, index) for index in range(len(one))]
            waiting += one
    return places


def _structure(case: Case, random: Random) -> Case:
    """One thing at any place of the JSON is dropped, doubled, renamed or something else."""
    content = _parsed(case.body)
    if content is None:
        return _bytes(case, random)
    root = [content]
    places = _places(root)
    holder, index = random.choice(places)
    action = random.randrange(6)
    is_name = index == 0 and len(holder) == 2 and isinstance(holder[0], str)
    if action == 0 and not is_name:
        if len(holder) == 2 and isinstance(holder[0], str):
            holder[1] = None
        else:
            del holder[index]
    elif action == 1 and not is_name:
        holder.insert(index, holder[index])
    elif action == 2:
        other, position = random.choice(places)
        holder[index], other[position] = other[position], holder[index]
    elif action == 3 and isinstance(holder[index], list) and holder[index]:
        holder[index][:] = holder[index] * random.choice((2, 11, 101))
    else:
        holder[index] = _hostile(random)
    try:
        text = "".join(map(_whole, root))
    except (RecursionError, TypeError, ValueError):
        return case
    return replace(case, body=text.encode(errors="surrogatepass")[:2_000_000])


def _whole(value: Any) -> str:
    if isinstance(value, Members) and not all(len(member) == 2 for member in value):
        return written(list(value))
    return written(value)


def _bytes(case: Case, random: Random) -> Case:
    """Some bytes are lost, doubled, turned round or put in between."""
    body = bytearray(case.body)
    at = random.randrange(len(body) + 1)
    end = min(len(body), at + random.choice((1, 1, 2, 8, 64)))
    action = random.randrange(6)
    if action == 0:
        del body[at:end]
    elif action == 1:
        body[at:at] = body[at:end] * random.choice((1, 2, 20))
    elif action == 2:
        body[at:at] = random.choice(BYTES)
    elif action == 3 and at < len(body):
        body[at] ^= 1 << random.randrange(8)
    elif action == 4:
        del body[at:]
    else:
        body = bytearray(random.choice((b"", b"null", b"[]", b"{}", b'"a"', b"1", b"\xef\xbb\xbf")))
    return replace(case, body=bytes(body[:2_000_000]))


def _token(case: Case, random: Random) -> Case:
    """Nearly the right token."""
    right = random.choice((canary.CURRENT, canary.PREVIOUS))
    at = random.randrange(len(right))
    tokens = (
        "",
        right[:at],
        right[at + 1 :],
        right[:at] + "x" + right[at + 1 :],
        right + "x",
        " " + right,
        right + "%20",
        right + "%00",
        right + "%0A",
        right.upper(),
        right.replace("a", "а"),
        right.replace("a", "%D0%B0"),
        right.replace("-", "%2D"),
        right.replace("-", "%252D"),
        right.replace("-", "%EF%BC%8D"),
        canary.CURRENT + canary.PREVIOUS,
        canary.CURRENT + "," + canary.PREVIOUS,
        right + "/",
        right + "%2F",
        "/" + right,
        "../webhooks/" + right,
        right + "?token=" + right,
        "?token=" + right,
        "{token}",
        "%ff" + right,
        "x" * 5000,
    )
    return replace(case, path="/webhooks/" + random.choice(tokens))


def _method(case: Case, random: Random) -> Case:
    methods = ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "post", "POST ", "")
    return replace(case, method=random.choice(methods))


def _headers(case: Case, random: Random) -> Case:
    """Headers that say something else about the body, come twice, or try to be believed."""
    header = random.choice(HEADERS)
    kept = case.headers if random.random() < 0.5 else ()
    return replace(case, headers=(*kept, header))


def _signing(case: Case, random: Random) -> Case:
    recipes = ("", "wrong", "old current", "future previous", "wrong " * 50 + "current")
    return replace(case, signing=random.choice(recipes))


def _repaired(case: Case, random: Random) -> Case:
    """All right but for the body."""
    token = random.choice((canary.CURRENT, canary.PREVIOUS))
    return Case(path=f"/webhooks/{token}", signing="current", body=case.body)


def _event(case: Case, random: Random) -> Case:
    """An event as API Gateway never makes it."""
    return replace(case, event={**case.event, **random.choice(EVENTS)})


MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(_structure,) * 8,
    *(_bytes,) * 4,
    _token,
    _token,
    _method,
    _headers,
    _headers,
    _signing,
    _event,
    *(_repaired,) * 4,
)


def mutated(case: Case, random: Random) -> Case:
    """The case made wrong, or right again, in one respect."""
    return random.choice(MUTATIONS)(case, random)


def generated(random: Random) -> Case:
    """A valid request after none to four mutations."""
    case = valid(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        case = mutated(case, random)
    return case
