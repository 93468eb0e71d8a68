"""The pipeline file: read, canonical form, hash."""

from __future__ import annotations

import contextlib
import json
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.spec import SpecError, canonical, duration, from_canonical, parse, spec_hash
from services.domain.spec_changes import changes
from tests.unit.domain.spec_texts import BINARY, REGRESSION, replaced

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights"


def test_a_parsed_file_has_the_values_that_are_written_and_defaults_for_the_rest():
    """Written keys arrive with their types, keys that are not written have their defaults."""
    spec = parse(BINARY)
    assert list(spec.features) == ["distance", "holiday", "carrier", "hour"]
    assert spec.features["distance"].range == (50.0, 10_000.0)
    assert spec.features["carrier"].synonyms == {"United": "UA"}
    assert [encoding.as_ for encoding in spec.encodings] == ["logit", "rate"]
    assert (spec.topics.partitions, spec.event.timezone, spec.label.on_expiry) == (4, "UTC", "drop")
    assert parse(REGRESSION).label.on_expiry == 60.0


@pytest.mark.parametrize("name", ["pipeline.toml", "pipeline-trees.toml"])
def test_the_flights_pipelines_are_valid(name):
    """The example's files parse and survive their canonical form."""
    spec = parse((FLIGHTS / name).read_text(encoding="utf-8"), name)
    assert from_canonical(canonical(spec)) == spec


def test_the_trees_differ_from_the_flights_pipeline_by_two_candidates_only():
    """The two example files cannot drift apart: all that differs is two added candidates."""
    plain, trees = (parse((FLIGHTS / name).read_text("utf-8")) for name in ("pipeline.toml", "pipeline-trees.toml"))
    found = [(item.kind, item.key) for item in changes(plain, trees).items]
    assert found == [
        ("in place", "model.candidates.adaptive-tree"),
        ("in place", "model.candidates.adaptive-forest"),
    ]


def test_comments_spaces_and_the_order_of_tables_do_not_change_the_hash():
    """Two files that say the same have one canonical form and one hash."""
    blocks = BINARY.split("\n\n")
    tables = [block for block in blocks if not block.startswith(("[[", "[features"))]
    rest = [block for block in blocks if block.startswith(("[[", "[features"))]
    shuffled = "\n\n# a comment\n".join(rest + tables[::-1]).replace(" = ", "   =\t")
    assert canonical(parse(shuffled)) == canonical(parse(BINARY))
    assert spec_hash(parse(shuffled)) == spec_hash(parse(BINARY))


def test_a_default_that_is_written_out_does_not_change_the_hash():
    """Writing a default down is no change."""
    written = replaced('time = "departure"', 'time = "departure"\nclock = "wall"\nmax_ahead = "1d"')
    assert spec_hash(parse(written)) == spec_hash(parse(BINARY))


@pytest.mark.parametrize(
    ("written", "respelled"),
    [
        ('horizon = "24h"', 'horizon = "1d"'),
        ('time = "departure"', 'time = "departure"\nmax_ahead = "24h"'),
        ("[[crosses]]", '[topics]\nretention = "168h"\n[[crosses]]'),
        ("[[crosses]]", '[snapshots]\nevery = "5000ms"\n[[crosses]]'),
        ("[[crosses]]", '[snapshots]\nlive_every = "0100ms"\n[[crosses]]'),
        ("[[crosses]]", '[drift.block]\nat_least = "60s"\n[[crosses]]'),
        ("[[crosses]]", '[drift.block]\nat_most = "360m"\n[[crosses]]'),
    ],
)
def test_a_duration_spelled_otherwise_is_another_hash_and_never_another_pipeline(written, respelled):
    """The canonical form has durations as they are written; a running pipeline takes another spelling up in place."""
    before, after = parse(BINARY), parse(replaced(written, respelled))
    assert spec_hash(after) != spec_hash(before)
    report = changes(before, after)
    assert report.kind == "in place"
    assert len(report.items) == 1


def test_minus_zero_and_zero_have_one_canonical_form():
    """Equal specs give equal text even for the two zeros of IEEE 754."""
    zero, minus = (parse(replaced("range = [50,", f"range = [{low},")) for low in ("0.0", "-0.0"))
    assert zero == minus
    assert canonical(zero) == canonical(minus)


def test_the_order_of_features_is_part_of_the_hash():
    """Features in another order are another spec: their order is the models' column order."""
    holiday = '[features.holiday]\ntype = "boolean"\n\n'
    moved = replaced(holiday, "").replace("[features.distance]", f"{holiday}[features.distance]")
    assert next(iter(parse(moved).features)) == "holiday"
    assert spec_hash(parse(moved)) != spec_hash(parse(BINARY))
    assert from_canonical(canonical(parse(moved))) == parse(moved)
    assert list(from_canonical(canonical(parse(moved))).features) == list(parse(moved).features)


def test_every_value_counts_in_the_hash():
    """One other threshold is another hash."""
    assert spec_hash(parse(replaced('task = "binary"', 'task = "binary"\nthreshold = 0.4'))) != spec_hash(parse(BINARY))
    assert len(spec_hash(parse(BINARY))) == 16


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='+*=\0"\\', exclude_categories=["Cc"]), min_size=1)
NUMBERS = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False).filter(lambda number: not 0 < abs(number) < 1e-100)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAMES.filter(lambda name: len(name.encode()) < 100), min_size=1, max_size=6, unique=True),
    bounds=st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] < pair[1]),
    constant=NUMBERS,
)
def test_canonical_form_and_back_is_the_same_spec(names, bounds, constant):
    """from_canonical(canonical(spec)) is spec, its text is a fixed point, feature order included."""
    text = "".join(
        f'[features."x{name}"]\ntype = "number"\nmissing = {constant!r}\nrange = [{bounds[0]!r}, {bounds[1]!r}]\n'
        for name in names
    )
    spec = parse(BINARY + text)
    again = from_canonical(canonical(spec))
    assert again == spec
    assert list(again.features) == list(spec.features)
    assert canonical(again) == canonical(spec)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_with_a_spec_error(data):
    """Whatever one does to the text, parse returns a Spec or raises SpecError and nothing else."""
    text = data.draw(st.sampled_from([BINARY, REGRESSION]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        inserted = data.draw(
            st.sampled_from(['"', "[", "]", "{", "}", "=", "nan", "-inf", "1e400", "1979-05-27", "true", '"""', "\\u"])
            | st.text(max_size=5)
        )
        text = text[:at] + inserted + text[at + length :]
    with contextlib.suppress(SpecError):
        spec = parse(text)
        assert from_canonical(canonical(spec)) == spec


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=12), st.data())  # fmt: skip
def test_a_mutated_canonical_form_is_read_or_refused_with_a_spec_error(value, data):
    """Any JSON in place of any part of a canonical form gives a Spec or a SpecError."""
    raw = json.loads(canonical(parse(BINARY)))
    table = data.draw(st.sampled_from(sorted(raw)))
    if data.draw(st.booleans()) and isinstance(raw[table], dict):
        raw[table][data.draw(st.sampled_from(sorted(raw[table])))] = value
    else:
        raw[table] = value
    with contextlib.suppress(SpecError):
        spec = from_canonical(json.dumps(raw))
        assert from_canonical(canonical(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a = ",
        "a = " + "[" * 5000,
        "a = 1" + "0" * 5000,
        "a = 0x" + "f" * 9000,
        ".".join("a" * 3_000) + " = 1",
        "[" + ".".join("a" * 3_000) + "]",
        "[pipeline]\nname = '\ud800'",
        "\ufeff\ufeff[pipeline]",
        "[pipeline]\r\nname = 1\r\n",
        "[features]\n" + "".join(f'f{number} = {{ type = "number" }}\n' for number in range(201)),
    ],
)
def test_hostile_text_is_refused_with_a_spec_error(text):
    """Depth, huge integers, lone surrogates and the like end in a SpecError, not in another exception."""
    with pytest.raises(SpecError):
        parse(text)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"features": [["a"]]}', '{"features": {}}', "[" * 9999])
def test_what_is_no_canonical_form_is_refused(text):
    """from_canonical raises SpecError for everything that is not a canonical pipeline."""
    with pytest.raises(SpecError):
        from_canonical(text)


def test_a_canonical_form_too_long_for_a_control_record_is_refused():
    """A file that would not fit into the learner's log is refused at once."""
    synonyms = ", ".join(f'"{number:0100d}" = "x"' for number in range(3000))
    with pytest.raises(SpecError, match="262144 bytes"):
        parse(replaced('{ "United" = "UA" }', f"{{ {synonyms} }}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100ms", timedelta(milliseconds=100)),
        ("5s", timedelta(seconds=5)),
        ("1m", timedelta(minutes=1)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
        ("3650d", timedelta(days=3650)),
    ],
)
def test_durations_have_a_count_and_a_unit(text, expected):
    """A count and one of ms, s, m, h, d is that long."""
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "s", "0s", "-1s", "1.5h", "5 s", "5S", "1w", "3651d", "9" * 30 + "ms", "\u0665s"]
)
def test_other_durations_are_refused_with_an_example(text):
    """Everything else is refused, and the message shows how to write one."""
    with pytest.raises(SpecError, match='like "100ms"'):
        duration(text)


@settings(max_examples=50)
@given(st.integers(1, 86_400_000))
def test_a_duration_in_milliseconds_is_exact(count):
    """No rounding happens on the way."""
    assert duration(f"{count}ms") / timedelta(milliseconds=1) == count


def test_the_sample_is_toml():
    """The sample text is what tomllib reads, so mutations start from something right."""
    assert tomllib.loads(BINARY)["pipeline"]["name"] == "flights"
