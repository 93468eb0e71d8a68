from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain import snapshot
from services.domain.signing import SignatureError
from services.learner.core.fold import Fold
from tests.unit.stream import LOGISTIC, TREE, control, examples, spec

KEY, OLD = b"k" * 32, b"o" * 32


def folded(text: str = LOGISTIC, count: int = 120) -> Fold:
    fold = Fold()
    fold.apply(control(spec(text)), 0)
    for offset, example in enumerate(examples(count), 1):
        fold.apply(example, offset)
    return fold


@pytest.fixture(scope="module")
def blob() -> bytes:
    return folded().snapshots()[0].blob


@pytest.mark.parametrize("text", [LOGISTIC, TREE])
def test_a_snapshot_serves_what_the_fold_would(text):
    """What is read from a file scores like the fold it was taken of, under the version it was published as."""
    fold = folded(text)
    for taken in fold.snapshots():
        part = snapshot.read(taken.blob, snapshot.sign(taken.blob, KEY), [KEY]).part(7)
        assert (part.ref.version, part.ref.examples_offset, part.ref.name) == (7, 121, "flights")
        own = fold.parts({})[taken.candidate]
        for example in examples(40, seed=3):
            encoded = part.encodings.encode(example.features)
            assert encoded == own.encodings.encode(example.features)
            row = part.columns.row(example.features, encoded)
            assert part.model.score(row) == own.model.score(own.columns.row(example.features, encoded))


def test_the_manifest_tells_what_the_snapshot_is_of(blob):
    """The manifest carries log, offset, spec, measures, versions of libraries and fifty canary events."""
    manifest = snapshot.read(blob, snapshot.sign(blob, KEY), [KEY]).manifest
    assert (manifest.candidate.name, manifest.examples_offset, manifest.codec) == ("logistic", 121, "msgpack")
    assert manifest.spec
    assert manifest.metrics["auc"] > 0
    assert set(manifest.versions) == {"python", "river", "numpy"}
    assert len(manifest.canaries) == snapshot.CANARIES


def test_a_manifest_from_before_a_field_was_added_is_read(blob):
    """What a manifest did not hold at first has the value that it had for every snapshot then."""
    manifest = snapshot.read(blob, snapshot.sign(blob, KEY), [KEY]).manifest
    text = msgspec.json.decode(msgspec.json.encode(manifest))
    for added in ("withdrawn", "failed_in_a_row"):
        del text[added]
    assert msgspec.json.decode(msgspec.json.encode(text), type=snapshot.Manifest) == manifest


@settings(max_examples=100)
@given(data=st.data())
def test_no_altered_snapshot_is_opened(data, blob):
    """Whatever byte is changed, or wherever the file is cut, its signature no longer fits."""
    place = data.draw(st.integers(0, len(blob) - 1))
    changed = data.draw(st.sampled_from(["flip", "cut", "more"]))
    other = {
        "flip": blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :],
        "cut": blob[:place],
        "more": blob + b"\0",
    }[changed]
    with pytest.raises(SignatureError, match="RIVERMILL_SIGNING_KEY"):
        snapshot.read(other, snapshot.sign(blob, KEY), [KEY])


def test_keys_can_be_rotated(blob):
    """A snapshot signed with the previous key opens while that key is known, and no longer after."""
    signature = snapshot.sign(blob, OLD)
    assert snapshot.read(blob, signature, [KEY, OLD]).manifest.examples_offset == 121
    for keys in ([KEY], [], [b""]):
        with pytest.raises(SignatureError):
            snapshot.read(blob, signature, keys)
    with pytest.raises(SignatureError):
        snapshot.read(blob, "not hex", [KEY])


@settings(max_examples=100)
@given(junk=st.binary(max_size=200))
def test_signed_junk_is_an_error_that_says_so(junk):
    """Bytes that are no snapshot raise SnapshotError even when they are signed."""
    for data in (junk, snapshot.MAGIC + junk):
        with pytest.raises(snapshot.SnapshotError):
            snapshot.read(data, snapshot.sign(data, KEY), [KEY])


def test_sizes_are_bounded_before_anything_is_read(blob, monkeypatch):
    """A file, or what a part of it inflates to, larger than the bound is refused."""
    monkeypatch.setattr(snapshot, "MAX_INFLATED_BYTES", 100)
    with pytest.raises(snapshot.SnapshotError, match="inflates"):
        snapshot.read(blob, snapshot.sign(blob, KEY), [KEY])
    monkeypatch.setattr(snapshot, "MAX_BYTES", len(blob) - 1)
    with pytest.raises(snapshot.SnapshotError, match="at most"):
        snapshot.read(blob, "", [KEY])


def test_a_model_that_says_something_else_is_refused(blob):
    """A snapshot whose canary events come out differently here is refused, naming versions on both sides."""
    taken = snapshot.read(blob, snapshot.sign(blob, KEY), [KEY])
    taken.manifest.canaries[3].expected += 1e-6
    with pytest.raises(snapshot.SnapshotError, match=r"canary.*river"):
        taken.part(1)


def test_a_pickle_that_does_not_fit_is_refused():
    """A pickled model that is damaged, though signed, raises an error instead of being served."""
    blob = folded(TREE).snapshots()[0].blob
    taken = snapshot.read(blob, snapshot.sign(blob, KEY), [KEY])
    for payload in (taken.payload[: len(taken.payload) // 2], b"", b"junk"):
        with pytest.raises((snapshot.SnapshotError, ValueError)):
            msgspec.structs.replace(taken, payload=payload).part(1)


def test_nothing_follows_a_part():
    """Bytes hidden behind a deflated part make the file invalid."""
    fold = folded(count=5)
    blob = fold.snapshots()[0].blob
    ends = snapshot._LENGTHS.unpack_from(blob, len(snapshot.MAGIC))
    hidden = zlib.compress(b"hidden")
    lengths = snapshot._LENGTHS.pack(ends[0], ends[1], ends[2] + len(hidden))
    start = len(snapshot.MAGIC)
    other = blob[:start] + lengths + blob[start + len(lengths) :] + hidden
    with pytest.raises(snapshot.SnapshotError, match="cut"):
        snapshot.read(other, snapshot.sign(other, KEY), [KEY])
