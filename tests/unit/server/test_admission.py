"""Admission without a transport: who is let in, in which order it is refused, and what becomes of errors."""

import errno
import hashlib

import pytest
from structlog.testing import capture_logs

from semcache.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    MessageTooLargeError,
    OverLimitError,
    PermissionDeniedError,
    SemcacheError,
    ServerExhaustedError,
    UnauthenticatedError,
)
from semcache.server.admission import Admission
from semcache.server.auth import NO_CREDENTIALS, Authenticator, Credentials
from semcache.server.gate import Gate
from semcache.settings import load_settings

KEY = Credentials(api_key="acme-key")
AUTH = {"enabled": True, "keys": [{"tenant": "acme", "sha256": hashlib.sha256(b"acme-key").hexdigest()}]}


class Rig:
    """An admission, its gate, and the reasons of what failed."""

    def __init__(self, **sections) -> None:
        sections.setdefault("server", {})["max_message_bytes"] = 100
        settings = load_settings(None, sections)
        self.gate = Gate(settings.server, settings.limits)
        self.reasons: list[str] = []
        self.admission = Admission(Authenticator(settings.auth), self.gate, 100, on_failure=self.reasons.append)


def test_a_call_is_counted_in_and_out():
    rig = Rig(auth=AUTH)
    with rig.admission.enter(KEY, 1.0) as caller:
        assert caller.tenant == "acme"
        assert (rig.gate.in_flight, rig.gate.limit) == (1, 1024)
    assert (rig.gate.in_flight, rig.reasons) == (0, [])


def test_with_auth_off_nobody_need_collect_credentials():
    rig = Rig()
    assert not rig.admission.reads_headers
    assert not rig.admission.reads_certificates
    with rig.admission.enter(NO_CREDENTIALS) as caller:
        assert caller.tenant == "default"


@pytest.mark.parametrize(
    ("credentials", "remaining_s", "error"),
    [
        (NO_CREDENTIALS, 0.0, UnauthenticatedError),
        (Credentials(api_key="other"), None, UnauthenticatedError),
        (Credentials(api_key="acme-key", tenant_header="bob"), 0.0, PermissionDeniedError),
        (KEY, 0.0, DeadlineExceededError),
    ],
)
def test_a_refusal_names_the_first_thing_that_is_wrong_and_holds_nothing(credentials, remaining_s, error):
    rig = Rig(auth=AUTH)
    with pytest.raises(error) as refused, rig.admission.enter(credentials, remaining_s):
        pytest.fail("it was let in")
    assert rig.reasons == [refused.value.reason]
    assert rig.gate.in_flight == 0


def test_a_message_that_is_too_large_is_refused_once_its_size_is_known():
    rig = Rig(auth=AUTH)
    rig.admission.check_size(100)
    with pytest.raises(MessageTooLargeError) as refused, rig.admission.enter(KEY, 1.0):
        rig.admission.check_size(101)
    assert (rig.gate.in_flight, rig.reasons) == (0, [refused.value.reason])


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "too many"), RecursionError()])
def test_a_server_that_has_run_out_of_something_says_so(error):
    rig = Rig()
    with capture_logs(), pytest.raises(ServerExhaustedError) as left, rig.admission.enter(NO_CREDENTIALS):
        raise error
    assert rig.reasons == ["SERVER_EXHAUSTED"]
    assert left.value.retry_after_s


def test_a_full_gate_refuses_before_the_message_is_read():
    rig = Rig(limits={"tenant_in_flight": 1})
    with rig.admission.enter(NO_CREDENTIALS):
        with pytest.raises(OverLimitError) as refused, rig.admission.enter(NO_CREDENTIALS):
            pytest.fail("it was let in")
        assert (refused.value.reason, refused.value.retry_after_s) == ("TENANT_IN_FLIGHT", 1.0)
        assert rig.gate.in_flight == 1


def test_an_error_on_purpose_leaves_as_itself():
    rig = Rig()
    with pytest.raises(InvalidRequestError) as left, rig.admission.enter(NO_CREDENTIALS):
        raise InvalidRequestError("bad", reason="BAD")
    assert left.value.__cause__ is None
    assert (rig.gate.in_flight, rig.reasons) == (0, ["BAD"])


def test_a_defect_is_logged_and_tells_the_caller_nothing():
    rig = Rig()
    with capture_logs() as logs, pytest.raises(SemcacheError) as left, rig.admission.enter(NO_CREDENTIALS):
        raise RuntimeError("secret words")
    assert "secret" not in str(left.value)
    assert isinstance(left.value.__cause__, RuntimeError)
    assert (rig.gate.in_flight, rig.reasons) == (0, ["INTERNAL"])
    assert [(line["event"], line["log_level"]) for line in logs] == [("server.call_failed", "error")]


def test_a_defect_while_the_tenant_is_named_is_one_of_the_servers_too():
    rig = Rig(auth=AUTH)
    unreadable = Credentials(api_key="\ud800")  # Half a surrogate pair, which has no UTF-8.
    with capture_logs(), pytest.raises(SemcacheError) as left, rig.admission.enter(unreadable):
        pytest.fail("it was let in")
    assert (left.value.reason, rig.gate.in_flight, rig.reasons) == ("INTERNAL", 0, ["INTERNAL"])


def test_a_caller_who_leaves_makes_room_and_is_no_failure():
    rig = Rig()
    with pytest.raises(GeneratorExit), rig.admission.enter(NO_CREDENTIALS):
        raise GeneratorExit
    assert (rig.gate.in_flight, rig.reasons) == (0, [])


@pytest.mark.parametrize(
    ("headers", "credentials"),
    [
        ({}, NO_CREDENTIALS),
        ({"x-api-key": "k"}, Credentials("k")),
        ({"authorization": "Bearer  k "}, Credentials("k")),
        ({"authorization": "bearer k"}, Credentials("k")),
        ({"authorization": "Basic k"}, NO_CREDENTIALS),
        ({"authorization": "Bearer "}, NO_CREDENTIALS),
        ({"x-api-key": "", "authorization": "Bearer k"}, NO_CREDENTIALS),
        ({"x-api-key": "k", "authorization": "Bearer other"}, Credentials("k")),
        ({"x-semcache-tenant": "bob"}, Credentials(tenant_header="bob")),
    ],
)
def test_credentials_are_read_from_headers(headers, credentials):
    assert Credentials.from_headers(headers.items()) == credentials


def test_a_certificates_name_counts_where_one_is_configured():
    tls = {"certificate_file": __file__, "key_file": __file__, "client_ca_file": __file__}
    auth = {"enabled": True, "certificates": [{"tenant": "acme", "common_name": "client"}]}
    rig = Rig(auth=auth, server={"tls": tls})
    assert rig.admission.reads_certificates
    with rig.admission.enter(Credentials(certificate_names=("other", "client"))) as caller:
        assert caller.tenant == "acme"
