"""Where the system on one machine differs from AWS, as far as the template goes.

This is the whole list. Whatever else a template asks for is applied, or refused.
"""

from enum import Enum

from local.backend import BackendKind

_ALL = frozenset(BackendKind)


class Difference(Enum):
    """Something that is known, and not applied: what, why, and on which backends."""

    BUCKET_TLS = (
        "statements of a bucket policy that deny by aws:SecureTransport or s3:TlsVersion",
        "the backend is plain http, where moto answers every request with 403",
        frozenset({BackendKind.MOTO}),
    )
    PERMISSIONS = (
        "what a role or policy allows",
        "roles and policies are created, but no backend asks them before it answers",
        _ALL,
    )
    PLAYED = (
        "functions, layers, event sources and HTTP APIs in the backend, and their descriptions",
        "the runner plays them from the shipped packages",
        _ALL,
    )
    ARCHITECTURE = (
        "the processor architecture of a function",
        "its layers are taken as built for this machine, from the same lock file",
        _ALL,
    )
    FUNCTION_LOGS = (
        "LoggingConfig and TracingConfig of a function, AccessLogSettings of a stage",
        "the runner writes logs to files, and no traces",
        _ALL,
    )
    THROTTLING = (
        "DefaultRouteSettings of a stage",
        "the runner's front limits no rate",
        _ALL,
    )
    TEMPORARY_FILES = (
        "EphemeralStorage of a function",
        "its /tmp is a folder of this machine, of no fixed size",
        _ALL,
    )
    ALARMS = (
        "what becomes of an alarm",
        "nobody is called at night here: the numbers are there to be read",
        _ALL,
    )
    REMOVAL = (
        "DeletionPolicy and UpdateReplacePolicy",
        "nothing is ever deleted or replaced: the backend starts empty and forgets all",
        _ALL,
    )

    def __init__(self, what: str, why: str, backends: frozenset[BackendKind]) -> None:
        self.what = what
        self.why = why
        self.backends = backends
