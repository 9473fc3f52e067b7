"""The names of a client certificate, read from the certificate itself.

gRPC also tells the common name, but as a C string: it ends at the first NUL, so that `alice` with a NUL
and more after it would be `alice`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import lru_cache

from semcache.errors import UnauthenticatedError

_SEQUENCE, _SET, _OID, _EXPLICIT_VERSION = 0x30, 0x31, 0x06, 0xA0
_COMMON_NAME = bytes((0x55, 0x04, 0x03))
"""The object identifier 2.5.4.3."""
_FIELDS_BEFORE_SUBJECT = 4
"""Serial number, signature algorithm, issuer and validity (RFC 5280, 4.1)."""
_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
"""The encoding of each string type: UTF8String, PrintableString, IA5String, TeletexString, BMP and UniversalString."""
_LONG_LENGTH = 0x80

_Element = tuple[int, bytes]
"""A DER element: its tag and its content."""


@lru_cache(maxsize=1024)
def common_names(pem: bytes) -> tuple[str, ...]:
    """Return the common names of a certificate's subject, in order.

    Args:
        pem: the certificate, which TLS has verified.

    Raises:
        UnauthenticatedError: INVALID_CERTIFICATE_NAME: the subject can't be read, or a common name has a character
            that isn't printed: NUL, a control or format character, a separator other than the space.
    """
    try:
        names = tuple(_common_names(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))))
    except (ValueError, IndexError) as error:
        raise _refusal("The client certificate's subject can't be read.") from error
    if not all(name.isprintable() for name in names):
        raise _refusal("The client certificate's common name has a NUL, control or invisible character.")
    return names


def _refusal(sentence: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        sentence, reason="INVALID_CERTIFICATE_NAME", hint="Issue a certificate whose common name is plain text."
    )


def _common_names(der: bytes) -> Iterator[str]:
    ((tag, certificate),) = _elements(der)
    if tag != _SEQUENCE:
        raise ValueError("no certificate")
    (_, to_be_signed), *_ = _elements(certificate)
    fields = list(_elements(to_be_signed))
    if fields[0][0] == _EXPLICIT_VERSION:
        fields = fields[1:]
    for set_tag, relative_name in _elements(fields[_FIELDS_BEFORE_SUBJECT][1]):
        if set_tag != _SET:
            raise ValueError("no name")
        for _, attribute in _elements(relative_name):
            (oid_tag, oid), (value_tag, value) = _elements(attribute)
            if (oid_tag, oid) == (_OID, _COMMON_NAME):
                if value_tag not in _ENCODINGS:
                    raise ValueError("no string")
                yield value.decode(_ENCODINGS[value_tag])


def _elements(der: bytes) -> Iterator[_Element]:
    """Yield the DER elements that `der` is made of. Tags of more than one byte don't occur in what is read here."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & _LONG_LENGTH:
            size = length & ~_LONG_LENGTH
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("cut off")
        yield tag, der[at : at + length]
        at += length
