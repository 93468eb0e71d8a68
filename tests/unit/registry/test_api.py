"""The HTTP API, over a real connection."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from services.domain.registry_api import MAX_SNAPSHOT_BYTES
from tests.unit.registry.serving import SPEC, digest, post

API = "/api/v1/models/flights"


def test_version_comes_back_as_it_was_posted(client: httpx.Client) -> None:
    """A posted version is found by its number, with its manifest and exactly its bytes."""
    posted = post(client, "flights", b"snapshot", offset=7)
    assert posted.status_code == 201
    version = client.get(posted.headers["Location"]).json()
    assert version == posted.json()
    assert (version["version"], version["examples_offset"], version["spec"]) == (1, 7, SPEC)
    snapshot = client.get(f"{API}/versions/1/snapshot")
    assert snapshot.content == b"snapshot"
    assert snapshot.headers["ETag"] == f'"{digest(b"snapshot")}"'


def test_repeated_post_returns_the_first(client: httpx.Client) -> None:
    """A version of the same identity is not stored twice, even with other bytes: a refold may pickle differently."""
    first = post(client, "flights", b"one", offset=7)
    again = post(client, "flights", b"two", offset=7)
    assert (again.status_code, again.json()) == (200, first.json())
    assert client.get(f"{API}/versions").json()["items"] == [first.json()]


def test_numbers_count_per_model(client: httpx.Client) -> None:
    """Version numbers are consecutive integers of one model, over all its candidates."""
    posts = [post(client, "flights", b"a"), post(client, "flights", b"b", candidate="sgd"), post(client, "taxis", b"c")]
    assert [answer.json()["version"] for answer in posts] == [1, 2, 1]
    assert [model["name"] for model in client.get("/api/v1/models").json()] == ["flights", "taxis"]


def test_posts_at_the_same_time_make_one_version_each(client: httpx.Client) -> None:
    """Of concurrent posts each identity gets one number, and no number is given twice or left out."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: post(client, "flights", b"%d" % (i % 6), offset=i % 6), range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] * 18 + [201] * 6
    numbers = {answer.json()["examples_offset"]: answer.json()["version"] for answer in answers}
    assert sorted(numbers.values()) == [1, 2, 3, 4, 5, 6]


def test_versions_are_paged_and_filtered(client: httpx.Client) -> None:
    """Pages of versions, newest first, join to the whole list; a candidate's are only its own."""
    for offset in range(5):
        post(client, "flights", b"%d" % offset, offset=offset, candidate="sgd" if offset % 2 else "logistic")
    found, before = [], {}
    while True:
        page = client.get(f"{API}/versions", params={"limit": 2, **before}).json()
        found += [item["version"] for item in page["items"]]
        if page["next_before"] is None:
            break
        before = {"before": page["next_before"]}
    assert found == [5, 4, 3, 2, 1]
    own = client.get(f"{API}/versions", params={"candidate": "sgd"}).json()
    assert [item["version"] for item in own["items"]] == [4, 2]


def test_wrong_digest_is_refused(refusing: httpx.Client) -> None:
    """Bytes that do not have the announced sha256 leave no trace."""
    refused = post(refusing, "flights", b"snapshot", sha256=digest(b"other"))
    assert refused.status_code == 422
    assert digest(b"other") in refused.json()["detail"]
    assert refusing.get("/api/v1/models").json() == []


def test_metrics_have_names_that_can_be_read(refusing: httpx.Client) -> None:
    """A metric without a name, or with a control character in it, is refused with the version."""
    for name in ("", " ", "a\0c"):
        assert post(refusing, "flights", b"x", metrics={name: 1.0}).status_code == 422


def test_announced_body_over_the_bound_is_refused_unread(refusing: httpx.Client) -> None:
    """A body whose length is announced beyond the bound is refused before it is sent."""
    head = (
        f"POST {API}/versions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {MAX_SNAPSHOT_BYTES * 2}\r\n\r\n"
    )
    with socket.create_connection((refusing.base_url.host, refusing.base_url.port or 0), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert b" 413 " in answer.splitlines()[0]


def test_chunked_body_over_the_bound_is_refused(refusing: httpx.Client) -> None:
    """A body that does not announce its length is refused once it has passed the bound."""
    chunks = (b"x" * 16384 for _ in range(16))
    refused = refusing.put(f"{API}/aliases/champion", content=chunks)
    assert refused.status_code == 413
    assert "64 KiB" in refused.json()["detail"]


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "%2e%2e", "Flights", "a" * 65, "-x", "a%00b", "a%0ab", "flights%0a", "a b", "a.b", "ü"]
)
def test_bad_names_are_refused(refusing: httpx.Client, name: str) -> None:
    """A name that is no pipeline name, such as one that would climb out of a folder, reaches no file and no row."""
    answer = post(refusing, name, b"snapshot")
    assert answer.status_code in {400, 404}
    assert answer.headers["Content-Type"] == "application/problem+json"


def _manifest(candidate: str, offset: int) -> str:
    return json.dumps(
        {"candidate": candidate, "spec": SPEC, "log_id": "l", "examples_offset": offset, "sha256": "a" * 64,
         "signature": "a" * 64}
    )  # fmt: skip


@pytest.mark.parametrize(
    "manifest",
    [
        "", "nonsense", "[]", "{}", '{"candidate": "x"}', "[" * 60_000, "\udcff",
        _manifest("../x", 1), _manifest("x\n", 1), _manifest("x", -1), _manifest("x", 2**63),
    ],
)  # fmt: skip
def test_bad_manifests_are_refused_with_a_reason(refusing: httpx.Client, manifest: str) -> None:
    """A manifest that is not one is answered with what was expected, never with a failure."""
    files = {"manifest": ("m", manifest.encode(errors="surrogateescape")), "snapshot": ("s", b"x")}
    answer = refusing.post(f"{API}/versions", files=files)
    assert answer.status_code == 422
    assert answer.json()["title"]
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"--b--", b"--b\r\n\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"]
)
def test_broken_multipart_is_refused(refusing: httpx.Client, body: bytes) -> None:
    """A body that is no multipart form is the refusing's error."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert refusing.post(f"{API}/versions", content=body, headers=headers).status_code in {400, 422}
    assert refusing.post(f"{API}/versions", content=body).status_code == 422


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        (f"{API}", 404, "no model 'flights'"),
        (f"{API}/versions/1", 404, "no model"),
        (f"{API}/versions/x", 404, ""),
        (f"{API}/log", 404, "no model"),
        (f"{API}/served?at=yesterday", 422, "at=yesterday is no time"),
        (f"{API}/served?at=2013", 422, "at=2013 is no time"),
        (f"{API}/served?at=2026-01-01", 422, "is no time"),
        (f"{API}/served?at=2026-01-01T00:00:00+01:00", 422, "%2B"),
        (f"{API}/served?at=2026-01-01T00:00:00", 422, "no offset"),
        (f"{API}/served?at=0001-01-01T00:00:00%2B05:00", 422, "outside the years"),
        (f"{API}/served?at=9999-12-31T23:59:59-05:00", 422, "outside the years"),
        (f"{API}/versions?limit=0", 400, "limit"),
        (f"{API}/versions?before=2147483648", 400, "before"),
        ("/models/flights?before=2147483648", 400, "before"),
        (f"{API}/log?before=9223372036854775808", 400, "before"),
        ("/api/v1/specs/abc", 400, "spec_hash"),
        ("/api/v1/specs/0123456789abcdef", 404, "no spec"),
        ("/elsewhere", 404, "/api/v1"),
        ("/models/nothing", 404, "no model"),
    ],
)
def test_errors_teach(refusing: httpx.Client, path: str, status: int, word: str) -> None:
    """What cannot be answered is problem details that name the culprit."""
    answer = refusing.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert word in answer.text


def test_specs_are_kept_byte_for_byte(client: httpx.Client) -> None:
    """A spec comes back as it was sent, under the beginning of its sha256 and under nothing else."""
    spec = '{"pipeline":{"name":"flights","note":"ü"}}'.encode()
    path = f"/api/v1/specs/{digest(spec)[:16]}"
    assert [client.put(path, content=spec).status_code for _ in range(2)] == [201, 200]
    assert client.get(path).content == spec
    assert client.put("/api/v1/specs/0123456789abcdef", content=spec).status_code == 422
    for wrong in (b"\xff", b'{"a":"\0"}', b"", b"pipeline = 1", b"[]", b"[" * 100_000):
        assert client.put("/api/v1/specs/" + digest(wrong), content=wrong).status_code == 422


@pytest.mark.parametrize(("kept", "asked"), [(16, 64), (64, 16), (20, 30)])
def test_a_spec_is_found_by_fewer_digits_and_by_more(client: httpx.Client, kept: int, asked: int) -> None:
    """Any beginning of its sha256 names a spec, and no other hash that begins alike."""
    spec = b'{"pipeline":{"name":"flights"}}'
    whole = digest(spec)
    assert client.put(f"/api/v1/specs/{whole[:kept]}", content=spec).status_code == 201
    assert client.get(f"/api/v1/specs/{whole[:asked]}").content == spec
    assert client.put(f"/api/v1/specs/{whole[:asked]}", content=spec).status_code == 200
    other = whole[:16] + ("0" if whole[16] != "0" else "1")
    assert client.get(f"/api/v1/specs/{other}").status_code == 404


@pytest.mark.parametrize(("body", "told"), [(b"", "body: nothing was sent"), (b"{}", "body: Object missing")])
def test_a_decision_without_content_is_told(refusing: httpx.Client, body: bytes, told: str) -> None:
    """What is missing is named as its sender knows it."""
    answer = refusing.put(f"{API}/aliases/champion", content=body)
    assert (answer.status_code, answer.json()["detail"][: len(told)]) == (400, told)


def test_actor_is_bounded(refusing: httpx.Client) -> None:
    """A name that could forge a log line or fill it is refused."""
    for name in ("x" * 65, "<script>", "a\tb", ""):
        assert post(refusing, "flights", b"x", headers={"X-Rivermill-Actor": name}).status_code == 422


def test_schema_describes_the_api(refusing: httpx.Client) -> None:
    """The OpenAPI document lists every path of the API, and every refusal of a body is described by its Struct."""
    schema = refusing.get("/schema").json()
    assert {
        "/api/v1/models", "/api/v1/models/{name}", "/api/v1/models/{name}/versions",
        "/api/v1/models/{name}/versions/{version}", "/api/v1/models/{name}/versions/{version}/snapshot",
        "/api/v1/models/{name}/aliases/{alias}", "/api/v1/models/{name}/served", "/api/v1/models/{name}/log",
        "/api/v1/specs/{spec_hash}",
    } <= schema["paths"].keys()  # fmt: skip


def test_every_answer_carries_security_headers(refusing: httpx.Client) -> None:
    """Pages, answers and errors alike forbid what is not ours, sniffing and framing, and tell no version of a server."""
    for path in ("/", "/api/v1/models", "/nowhere", "/metrics"):
        headers = refusing.get(path).headers
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= {*policy}
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers or "/" not in headers["Server"]


def test_metrics_count_by_route(refusing: httpx.Client) -> None:
    """Requests are counted by route, not by path, so that no refusing can make up series."""
    refusing.get("/api/v1/models/some-name")
    text = refusing.get("/metrics").text
    assert 'rivermill_registry_requests_total{method="GET",route="/api/v1/models/{name}",status="404"}' in text
    assert "some-name" not in text
