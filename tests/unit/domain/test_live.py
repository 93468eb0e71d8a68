from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.models import AliasRecord
from services.domain import live, snapshot
from services.domain.served import Live, Part, assemble
from services.domain.signing import SignatureError
from services.learner.core.fold import Fold
from tests.unit.stream import LOGISTIC, TREE, control, events, examples, spec

KEY, OLD = b"k" * 32, b"o" * 32
VERSIONS = {"logistic": 3, "sgd": 4, "tree": 1}


def folded(count: int = 120, text: str = LOGISTIC) -> Fold:
    fold = Fold()
    fold.apply(control(spec(text)), 0)
    for offset, example in enumerate(examples(count), 1):
        fold.apply(example, offset, 1_000 + offset)
    return fold


def sealed(fold: Fold, key: bytes = KEY) -> bytes:
    parameters = fold.live(VERSIONS)
    assert parameters is not None
    return live.seal(parameters, key)


def served(value: bytes) -> Live:
    return live.read(live.unseal(value, [KEY]), "flights")


def alias(candidate: str, part: Part | None = None, *, follow: bool = True) -> AliasRecord:
    return AliasRecord(
        alias="champion", revision=1, name="flights", candidate=candidate, version=1, live=follow,
        snapshot_sha256=candidate if part else "absent", signature="", size=1, spec="", log_id="", examples_offset=1,
        previous=None, actor="", reason="", at=datetime(2013, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@settings(max_examples=20)
@given(st.integers(0, 150))
def test_live_parameters_serve_what_the_fold_would(count):
    """Sealed, read and served elsewhere, every candidate scores exactly as in the fold, whatever it has learned."""
    fold = folded(count)
    parts, own = served(sealed(fold)).parts, fold.parts(VERSIONS)
    assert set(parts) == {"logistic", "sgd"}
    for name, part in parts.items():
        assert part.ref == own[name].ref
        for event in events(20, seed=5):
            encoded = part.encodings.encode(event)
            assert encoded == own[name].encodings.encode(event)
            score = own[name].model.score(own[name].columns.row(event, encoded))
            assert part.model.score(part.columns.row(event, encoded)) == score


def test_the_record_names_offset_version_and_freshness():
    """Live parameters say up to which example they are, which versions they follow, and when the label came in."""
    parameters = live.unseal(sealed(folded(7)), [KEY])
    assert live.position(parameters) == (parameters.log_id, 8)
    assert {name: it.version for name, it in parameters.candidates.items()} == {"logistic": 3, "sgd": 4}
    assert parameters.label_came_in_ms == 1_007


def test_only_small_published_candidates_are_live():
    """Trees, and candidates that were never published, are not in the record."""
    fold = folded(5, LOGISTIC + TREE)
    assert set(served(sealed(fold)).parts) == {"logistic", "sgd"}
    parameters = fold.live({"sgd": 1})
    assert parameters is not None
    assert set(parameters.candidates) == {"sgd"}


def test_encodings_go_alone_where_all_candidates_are_left_out():
    """The record is smaller, and a pinned champion, with nothing live, is served with these encodings."""
    fold = folded(40)
    parameters = fold.live({})
    assert parameters is not None
    value = live.seal(parameters, KEY)
    assert len(value) < len(sealed(fold))
    state, blobs = served(value), stored(folded(20))
    assert not state.parts
    found = assemble(alias("logistic", blobs["logistic"], follow=False), [], state, blobs)
    assert found is not None
    assert (found.champion.ref.examples_offset, found.encodings_offset) == (21, 41)
    own = fold.parts(VERSIONS)["logistic"].encodings
    assert all(found.encodings.encode(event) == own.encode(event) for event in events(20, seed=5))


SEALED = sealed(folded(30))


@settings(max_examples=100)
@given(data=st.data())
def test_no_altered_record_is_served(data):
    """Whichever byte is changed, the record is refused, unless it still says exactly the same."""
    value = bytearray(SEALED)
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = live.unseal(bytes(value), [KEY])
    except (SignatureError, ValueError):
        return
    assert found == live.unseal(SEALED, [KEY])


def test_keys_can_be_rotated():
    """A record under the previous key is taken while that key is known; one under another key never."""
    value = sealed(folded(3), OLD)
    assert live.unseal(value, [KEY, OLD]).examples_offset == 4
    with pytest.raises(SignatureError, match="RIVERMILL_SIGNING_KEY"):
        live.unseal(value, [KEY])
    with pytest.raises(SignatureError, match="at most"):
        live.unseal(bytes(2 * live.MAX_BYTES + 1), [KEY])


def stored(fold: Fold, version: int = 1) -> dict[str, Part]:
    return {
        taken.candidate: snapshot.read(taken.blob, snapshot.sign(taken.blob, KEY), [KEY]).part(version)
        for taken in fold.snapshots()
    }


def test_a_live_alias_serves_the_newer_of_live_and_stored():
    """Following means whichever state has folded more; without either there is nothing to serve."""
    old, new = folded(20), folded(40)
    for live_fold, stored_fold in ((old, new), (new, old)):
        state, blobs = served(sealed(live_fold)), stored(stored_fold)
        found = assemble(alias("logistic", blobs["logistic"]), [alias("sgd", blobs["sgd"])], state, blobs)
        assert found is not None
        assert (found.champion.ref.examples_offset, found.encodings_offset) == (41, 41)
    assert assemble(alias("logistic"), [], Live(), {}) is None


def test_a_pinned_alias_serves_exactly_its_snapshot_with_live_encodings():
    """A pin keeps the version's model while encodings go on, and never falls back to the live state."""
    state, blobs = served(sealed(folded(40))), stored(folded(20))
    found = assemble(alias("logistic", blobs["logistic"], follow=False), [alias("sgd")], state, blobs)
    assert found is not None
    assert (found.champion.ref.examples_offset, found.encodings_offset) == (21, 41)
    assert found.encodings is state.encodings
    assert assemble(alias("logistic", follow=False), [], state, {}) is None


def test_a_tree_is_served_from_its_snapshot_beside_live_candidates():
    """A candidate too large for live parameters follows its versions."""
    fold = folded(60, LOGISTIC + TREE)
    state, blobs = served(sealed(fold)), stored(fold, version=9)
    found = assemble(alias("logistic"), [alias("tree", blobs["tree"]), alias("sgd")], state, blobs)
    assert found is not None
    event = next(iter(events(1)))
    _, scores = found.score(event, found.encodings.encode(event))
    assert [(it.candidate, it.version) for it in scores] == [("tree", 9), ("sgd", 4)]
