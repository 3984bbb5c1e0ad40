"""What a PDF is made of: design, version, file name and parameters, and their digest."""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import Annotated, Final

import msgspec

from reportflow.contract.json_values import nests_deeper, read_json, written

# `$` alone also matches before a final newline.
END: Final = r"$(?!\n)"
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# The characters that a URL's path and an S3 key take as they are; never "." or "..".
_ID: Final = r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}"
_OPAQUE_ID: Final = f"^{_ID}" + END
_FILE_ID: Final = f"^{_ID}(/{_ID})?" + END

MAX_PARAMS_DEPTH: Final = 500
"""A reader of JSON recurses once a level, and has room for about 1,000."""

DesignId = Annotated[str, msgspec.Meta(pattern=_OPAQUE_ID)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
OpaqueId = Annotated[str, msgspec.Meta(pattern=_OPAQUE_ID)]
FileId = Annotated[str, msgspec.Meta(pattern=_FILE_ID)]
"""ReportFlow's name for a file: an opaque id, or two of them."""

JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The PDF's name and the template's parameters, kept as the very bytes that upstream sent.

    Numbers of any length or form reach ReportFlow as they were written. Each contract has its own
    kind, with its rule for `file_name` and its further fields.
    """

    # A contract checks the name in `mistake`. msgspec would compile a pattern at each cold start,
    # and one with Japanese ranges takes 31 million instructions.

    file_name: str
    params: JsonObject

    def mistake(self) -> str:
        """The field with what is wrong with it, beyond its type; empty if all is well."""
        is_object = bytes(self.params).lstrip().startswith(b"{")
        return "" if is_object else "params: expected an object"

    def options(self) -> dict[str, object]:
        """The further fields that upstream set, as plain values."""
        return {}

    def passthrough_json(self) -> str:
        """The object that comes back in the job's record and events; empty if there is none."""
        return ""


class Document[C: Content](
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True, dict=True
):
    """One document to generate."""

    design_id: DesignId
    version: Version
    content: C

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the PDF is made of; the order of keys and white space do not matter.

        Raises:
            ValueError: `params` are not JSON in UTF-8, or nest deeper than `MAX_PARAMS_DEPTH`.
        """
        content = self.content
        with _reading:
            params = read_json(bytes(content.params).decode())
            if nests_deeper(params, MAX_PARAMS_DEPTH):
                raise ValueError(f"nested too deeply, at most {MAX_PARAMS_DEPTH} levels")
            return digest_of(
                self.design_id, self.version, content.file_name, params, content.options()
            )


def digest_of(
    design_id: str,
    version: int,
    file_name: str,
    params: object,
    options: dict[str, object] | None = None,
) -> str:
    """SHA-256 in hex over what a PDF is made of, `params` as `read_json` gives them.

    It is the same before and after a JavaScript service has read the document and written it in
    its own way: with other white space, other escapes, another order of keys and numbers as
    doubles. Texts compare in NFC, to which those in `params` may be changed.

    Raises:
        UnicodeEncodeError: a text has half of a surrogate pair, which no request may have.
    """
    document = [normal_design(design_id), version, file_name, params]
    return hashlib.sha256(written([*document, options] if options else document)).hexdigest()


def file_name_mistake(
    name: str, rule: str, is_allowed: Callable[[str], bool], *, fits: bool
) -> str:
    """What is wrong with a file name; `fits` is what the rule says beyond single characters."""
    for character in name:
        if not is_allowed(character):
            shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
            return f"fileName: expected {rule}; got {shown}"
    return "" if fits else f"fileName: expected {rule}; got {len(name)} characters"


def is_opaque_id(text: str) -> bool:
    """Whether the text can stand in a URL's path."""
    return re.match(_OPAQUE_ID, text) is not None


def normal_design(design_id: str) -> str:
    """The one way to write a design's id: a UUID in small letters, any other id as it is."""
    return design_id.lower() if _UUID.fullmatch(design_id) else design_id


def composed(file_name: str) -> str:
    """The file name in Unicode's composed form (NFC), which a Mac's file system takes apart.

    Compatibility ideographs stay, although NFC replaces them: people write their names with them.
    """
    return _COMPOSABLE.sub(lambda run: unicodedata.normalize("NFC", run[0]), file_name)


_COMPOSABLE: Final = re.compile("[^\uf900-\ufaff\U0002f800-\U0002fa1f]+")

# Read, params take many times the memory of their text. A batch would read them side by side and
# be no faster, because the decoder holds the interpreter's lock.
_reading: Final = Lock()
