"""Which raw paths may be passed through, and what of them a target gets."""

import pytest

from semcache.server.http.pass_through import path_below
from semcache.wire.http_failures import RefusedCallError


@pytest.mark.parametrize(
    ("path", "below"),
    [
        (b"/v1/files", "files"),
        (b"/v1/files/", "files/"),
        (b"/v1/files/file-1.jsonl/content", "files/file-1.jsonl/content"),
        (b"/v1/fine_tuning/jobs/ft:gpt-4o:org::id", "fine_tuning/jobs/ft:gpt-4o:org::id"),
        (b"/v1/a%20b/%C3%A4", "a%20b/%C3%A4"),
        (b"/v1/...", "..."),
        (b"/v1/v1/files", "v1/files"),
    ],
)
def test_plain_paths_pass_as_they_came(path, below):
    assert path_below(path) == below


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/",
        b"/v1",
        b"/v2/files",
        b"/v1//files",
        b"/v1/files//x",
        b"/v1/./files",
        b"/v1/../admin",
        b"/v1/files/..",
        b"/v1/%2e%2e/admin",
        b"/v1/.%2E/admin",
        b"/v1/files%2f..%2fadmin",
        b"/v1/files%2Fadmin",
        b"/v1/files%5cadmin",
        b"/v1/files\\admin",
        b"/v1/%252e%252e/admin",
        b"/v1/..;/admin",
        b"/v1/..;a=b/admin",
        b"/v1/;/admin",
        b"/v1/files%00",
        b"/v1/files%0d%0aHost:x",
        b"/v1/files%2",
        b"/v1/files%zz",
        b"/v1/fil es",
        b"/v1/fil\xc3\xa4",
        b"/v1/files?x",
        b"/v1/files#x",
        b"/x/v1/files",
    ],
)
def test_paths_that_could_lead_elsewhere_are_refused(path):
    with pytest.raises(RefusedCallError) as caught:
        path_below(path)
    assert (caught.value.status, caught.value.reason) == (400, "INVALID_PATH")
