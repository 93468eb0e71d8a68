"""Which snapshots stay as versions grow old, and which never go."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import ObjectStore

from services.domain.registry_api import SetAlias
from services.registry import reading
from services.registry.aliases import set_alias
from services.registry.blobs import Blobs
from services.registry.database import Database
from services.registry.publishing import publish
from services.registry.refusals import Conflict, Thinned
from services.registry.tables import THINNING, VersionRow
from services.registry.thinning import kept, sweep
from tests.unit.registry.serving import manifest, paths

AT = datetime(2026, 1, 1, tzinfo=UTC)


def fill(database: Database, blobs: Blobs, first: int, last: int, *, keep: int, same: bool = False) -> None:
    for number in range(first, last + 1):
        snapshot = b"same" if same else b"%d" % number
        new = manifest(snapshot, offset=number, keep=keep)
        publish(database, blobs, "flights", new, snapshot, actor="learner", now=AT)


def stored(database: Database) -> list[int]:
    with database.reading() as session:
        page = reading.versions(session, "flights", None, None, 1000)
    return [version.version for version in reversed(page.items) if version.state == "stored"]


@given(newest=st.integers(1, 5000), keep=st.integers(1, 300))
@settings(max_examples=100)
def test_what_is_kept_is_nested_dense_and_few(newest: int, keep: int) -> None:
    """The newest stay, what was thinned is never wanted back, gaps grow with age, and little is kept in all."""
    now = [ordinal for ordinal in range(1, newest + 1) if kept(ordinal, newest, keep)]
    later = [ordinal for ordinal in range(1, newest + 1) if kept(ordinal, newest + 1, keep)]
    assert set(later) <= set(now)
    assert now[-keep:] == list(range(max(1, newest - keep + 1), newest + 1))
    assert all(b - a <= 1 + 2 * (newest - a) / keep for a, b in pairwise([0, *now]))
    assert len(now) <= keep + (keep / 2 + 1) * (newest / keep).__ceil__().bit_length()


def test_old_versions_are_thinned_and_keep_their_rows(database: Database, blobs: Blobs, store: ObjectStore) -> None:
    """A thinned version is still listed, its snapshot says how to rebuild it, and its blob is gone."""
    fill(database, blobs, 1, 20, keep=4)
    assert stored(database) == [1, 8, 12, 14, 16, 17, 18, 19, 20]
    with pytest.raises(Thinned) as refused:
        reading.snapshot(database, blobs, "flights", 3)
    assert "offset 3" in refused.value.detail
    assert reading.snapshot(database, blobs, "flights", 8)[0] == b"8"
    assert len(paths(store)) == 9


def test_what_somebody_decided_on_stays(database: Database, blobs: Blobs) -> None:
    """A version in the alias log is never thinned, whether an alias names it still or no more."""
    fill(database, blobs, 1, 3, keep=2)
    set_alias(database, "flights", "champion", SetAlias(3, "a test", live=False), actor="ann", now=AT)
    fill(database, blobs, 4, 11, keep=2)
    set_alias(database, "flights", "champion", SetAlias(11, "a test", live=True), actor="ann", now=AT)
    fill(database, blobs, 12, 30, keep=2)
    assert {1, 3, 11} <= set(stored(database))
    assert 5 not in stored(database)


def test_what_a_decision_replaced_stays(database: Database, blobs: Blobs) -> None:
    """Nobody decided on the version that a live champion had come to; a rollback to it is possible all the same."""
    fill(database, blobs, 1, 1, keep=2)
    other = manifest(b"other", candidate="sgd", keep=2)
    publish(database, blobs, "flights", other, b"other", actor="learner", now=AT)
    for version in (2, 1):  # from now on both candidates have an alias of their own
        set_alias(database, "flights", "champion", SetAlias(version, "a test"), actor="ann", now=AT)
    fill(database, blobs, 2, 5, keep=2)
    set_alias(database, "flights", "champion", SetAlias(2, "a test"), actor="ann", now=AT)
    fill(database, blobs, 6, 30, keep=2)
    with database.reading() as session:
        replaced = reading.log(session, "flights", None, 1).items[0].previous
    assert replaced == 6
    set_alias(database, "flights", "champion", SetAlias(replaced, "back", live=False), actor="ann", now=AT)
    assert 5 not in stored(database)


def test_candidates_are_thinned_apart(database: Database, blobs: Blobs) -> None:
    """How many versions of one candidate stay does not depend on another's."""
    for number in range(1, 41):
        new = manifest(b"%d" % number, offset=number, keep=4, candidate="sgd" if number % 2 else "logistic")
        publish(database, blobs, "flights", new, b"%d" % number, actor="learner", now=AT)
    with database.reading() as session:
        pages = [reading.versions(session, "flights", name, None, 1000) for name in ("sgd", "logistic")]
    assert [sum(version.state == "stored" for version in page.items) for page in pages] == [9, 9]


def test_shared_blob_outlives_a_thinned_version(database: Database, blobs: Blobs) -> None:
    """A blob stays as long as one stored version has its digest."""
    fill(database, blobs, 1, 20, keep=2, same=True)
    assert reading.snapshot(database, blobs, "flights", 20)[0] == b"same"


def test_thinned_version_cannot_be_pinned(database: Database, blobs: Blobs) -> None:
    """An alias never names what cannot be served."""
    fill(database, blobs, 1, 20, keep=2)
    with pytest.raises(Conflict, match="thinned"):
        set_alias(database, "flights", "champion", SetAlias(3, "a test", live=False), actor="ann", now=AT)


def test_thinning_that_was_interrupted_is_finished(database: Database, blobs: Blobs, store: ObjectStore) -> None:
    """A version marked by a process that died before it removed the blob is finished by the next sweep."""
    fill(database, blobs, 1, 3, keep=10)
    with database.writing() as session:
        row = session.get(VersionRow, ("flights", 2))
        assert row is not None
        row.state = THINNING
    with pytest.raises(Thinned):
        reading.snapshot(database, blobs, "flights", 2)
    assert sweep(database, blobs, "flights") == 1
    assert len(paths(store)) == 2
