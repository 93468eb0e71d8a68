"""Where snapshots lie: a folder, and a bucket of a real server of the S3 protocol."""

from __future__ import annotations

import random
import secrets
import shutil
from pathlib import Path

import httpx
import pytest
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore

from services.registry.blobs import Blobs, open_blobs
from services.registry.refusals import Damaged
from services.runtime.settings import SettingsError
from tests.s3 import S3
from tests.unit.registry.serving import digest, paths, post, serving

LARGE = random.Random(7).randbytes(12 * 1024 * 1024)  # noqa: S311 - reproducible, no secret
"""A blob that is put in several parts."""


@pytest.mark.parametrize("data", [b"snapshot", LARGE], ids=["small", "large"])
def test_a_blob_is_there_from_put_to_remove(blobs: Blobs, store: ObjectStore, data: bytes) -> None:
    """Put twice it is one blob, of its own size and bytes; removed twice it is gone. Its path is its model and digest."""
    sha256 = digest(data)
    assert not blobs.has("flights", sha256, len(data))
    for _ in range(2):
        blobs.put("flights", sha256, data)
        assert blobs.has("flights", sha256, len(data))
        assert blobs.get("flights", sha256, len(data)) == data
    assert paths(store) == [f"flights/{sha256[:2]}/{sha256}"]
    assert not blobs.has("flights", sha256, len(data) + 1)
    assert not blobs.has("trains", sha256, len(data))
    for _ in range(2):
        blobs.remove("flights", sha256)
        assert not blobs.has("flights", sha256, len(data))
    assert paths(store) == []
    with pytest.raises(Damaged):
        blobs.get("flights", sha256, len(data))


def test_a_registry_keeps_its_snapshots_there(location: str, tmp_path: Path, registry_env: dict[str, str]) -> None:
    """What is published to a registry is what its reader gets, after a start on the same blobs as well."""
    env = registry_env | {"RIVERMILL_BLOBS": location}
    with serving(tmp_path, env) as client:
        assert post(client, "flights", LARGE).status_code == httpx.codes.CREATED
    with serving(tmp_path, env) as client:
        assert client.get("/api/v1/models/flights/versions/1/snapshot").content == LARGE


@pytest.mark.server
def test_two_registries_share_a_bucket_by_prefix(s3: S3) -> None:
    """What one keeps under its prefix the other neither sees nor removes."""
    bucket, sha256 = s3.bucket("shared"), digest(b"snapshot")
    first, second = open_blobs(f"s3://{bucket}/first"), open_blobs(f"s3://{bucket}/second")
    first.put("flights", sha256, b"snapshot")
    assert not second.has("flights", sha256, 8)
    second.remove("flights", sha256)
    assert first.get("flights", sha256, 8) == b"snapshot"


@pytest.mark.parametrize("location", ["nowhere://x", "/proc/nothing/blobs"])
def test_wrong_blob_store_is_one_clear_message(location: str) -> None:
    """A blob store that cannot be used is a SettingsError that names the variable."""
    with pytest.raises(SettingsError, match="RIVERMILL_BLOBS"):
        open_blobs(location)


@pytest.mark.server
@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another-secret"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "somebody"}, "InvalidAccessKeyId"),
    ],
    ids=["secret", "id"],
)
def test_wrong_credentials_are_told_at_the_start(
    s3: S3, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], word: str
) -> None:
    """In one line, with what the store says of them and without the secret."""
    location = f"s3://{s3.bucket(secrets.token_hex(8))}"
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"RIVERMILL_BLOBS is '{location}'.*{word}") as refused:
        open_blobs(location)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
    assert not list((s3.root / location.rpartition("/")[2]).iterdir())


@pytest.mark.server
@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_told_at_the_start() -> None:
    """It is not made: whoever runs the store decides on its buckets."""
    with pytest.raises(SettingsError, match=r"s3://no-such-bucket/prefix.*NoSuchBucket"):
        open_blobs("s3://no-such-bucket/prefix")


@pytest.mark.server
def test_a_bucket_that_goes_away_is_no_version_that_is_missing(s3: S3) -> None:
    """A put into it fails as a store that does not answer; what was in it is told as damaged."""
    bucket, sha256 = s3.bucket("going"), digest(b"snapshot")
    blobs = open_blobs(f"s3://{bucket}")
    blobs.put("flights", sha256, b"snapshot")
    shutil.rmtree(s3.root / bucket)
    with pytest.raises(NotFoundError, match="the bucket or folder is gone"):
        blobs.put("flights", sha256, b"snapshot")
    assert not blobs.has("flights", sha256, 8)
    with pytest.raises(Damaged, match="missing from the blob store"):
        blobs.get("flights", sha256, 8)
