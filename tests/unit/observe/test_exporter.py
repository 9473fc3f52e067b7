"""The metrics page over a real socket: its content, other paths, a port in use, closing."""

import http.client
import socket
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry, Counter

from semcache.errors import StartError
from semcache.observe.exporter import Exporter
from semcache.settings import MetricsSettings


@pytest.fixture
def exporter(registry):
    Counter("demo", "Counts.", registry=registry).inc()
    exporter = Exporter.start(MetricsSettings(port=0), registry)
    yield exporter
    exporter.close()


@pytest.fixture
def ask(exporter):
    def ask(path, method="GET", accept=None):
        with closing(http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=10)) as connection:
            connection.request(method, path, headers={} if accept is None else {"Accept": accept})
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read()

    return ask


def test_the_page_is_prometheus_text(ask):
    status, content_type, body = ask("/metrics")

    assert status == 200
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"demo_total 1.0\n" in body


def test_openmetrics_is_served_to_who_asks_for_it(ask):
    status, content_type, body = ask("/metrics", accept="application/openmetrics-text; version=1.0.0")

    assert status == 200
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_a_query_doesnt_change_the_page(ask):
    assert ask("/metrics?x=1")[0] == 200


def test_health_says_that_the_process_answers(ask):
    assert ask("/healthz") == (200, "text/plain; charset=utf-8", b"ok\n")


def test_nothing_else_is_there(ask):
    assert ask("/")[0] == 404
    assert ask("/metrics", method="POST")[0] == 405


def test_head_has_no_body(ask):
    status, _, body = ask("/metrics", method="HEAD")

    assert (status, body) == (200, b"")


def test_a_client_that_hangs_up_harms_nobody(ask, exporter):
    with socket.create_connection(("127.0.0.1", exporter.port)) as connection:
        connection.sendall(b"GET /met")

    assert ask("/healthz")[0] == 200


def test_closing_frees_the_port_and_may_be_repeated(registry):
    first = Exporter.start(MetricsSettings(port=0), registry)
    first.close()
    first.close()

    second = Exporter.start(MetricsSettings(port=first.port), registry)
    assert second.port == first.port
    second.close()


def test_a_port_in_use_names_the_setting():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(StartError, match=f"127.0.0.1:{port}: the address is in use") as caught:
            Exporter.start(MetricsSettings(port=port), CollectorRegistry())

    assert "metrics.port" in caught.value.hint


def test_an_address_of_another_machine_names_the_setting():
    with pytest.raises(StartError, match=r"192\.0\.2\.1:0") as caught:
        Exporter.start(MetricsSettings(host="192.0.2.1", port=0), CollectorRegistry())

    assert "metrics.host" in caught.value.hint
