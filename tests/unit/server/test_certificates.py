"""Common names are read from the certificate's bytes, whatever their string type and their length."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from semcache.errors import UnauthenticatedError
from semcache.server.certificates import common_names

KEY = ec.generate_private_key(ec.SECP256R1())


def pem_of(*attributes: x509.NameAttribute) -> bytes:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the issuer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(issuer)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def common(name: str, kind: _ASN1Type | None = None) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.COMMON_NAME, name, kind)


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ((common("alice"),), ("alice",)),
        ((common("alice", _ASN1Type.PrintableString),), ("alice",)),
        ((common("alice", _ASN1Type.IA5String),), ("alice",)),
        ((common("álïcé 日本"),), ("álïcé 日本",)),
        ((x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o" * 64), common("a b" * 21)), ("a b" * 21,)),
        ((common("alice"), common("bob")), ("alice", "bob")),
        ((x509.NameAttribute(NameOID.ORGANIZATION_NAME, "alice"),), ()),
        ((), ()),
    ],
    ids=["utf8", "printable", "ia5", "not ascii", "long", "two", "other attribute", "empty subject"],
)
def test_common_names_are_read(attributes, names):
    assert common_names(pem_of(*attributes)) == names


@pytest.mark.parametrize("name", ["a\0b", "a\tb", "a\x85", "a\u00ad", "a\u2029", "a\ufeff"])
def test_a_name_with_a_character_that_is_not_printed_is_refused(name):
    for attributes in ((common(name),), (common("alice"), common(name))):
        with pytest.raises(UnauthenticatedError) as refused:
            common_names(pem_of(*attributes))
        assert refused.value.reason == "INVALID_CERTIFICATE_NAME"


def _cut(pem: bytes) -> bytes:
    lines = pem.splitlines()
    return b"\n".join([lines[0], lines[1], lines[-1]])


@pytest.mark.parametrize("pem", [b"", b"no certificate", b"\xff", _cut(pem_of(common("alice")))])
def test_bytes_that_are_no_certificate_are_refused(pem):
    with pytest.raises(UnauthenticatedError):
        common_names(pem)
