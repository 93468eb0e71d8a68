"""Generated files follow from the contracts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from schemas import contracts, generate, page
from schemas.topics import SERVICES, STREAMS, topics

DAY_MS = 86_400_000


def test_the_committed_files_are_fresh():
    """What is committed is what the Structs and the topic table give."""
    assert generate.stale(generate.generated()) == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_check_fails_until_the_files_are_written(folder, capsys):
    """--check writes nothing, exits 1 with the command to run, and passes once that has been run."""
    assert generate.main(["--check"]) == 1
    assert "run `python -m schemas.generate`" in capsys.readouterr().out
    assert list(folder.iterdir()) == []
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_a_changed_and_a_left_over_file_are_stale(folder, capsys):
    """An edited schema and one of a stream that is gone are found, and put right by the command."""
    generate.main([])
    (folder / "schemas" / "json" / "alerts.json").write_text("{}")
    (folder / "schemas" / "json" / "gone.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().out
    assert "stale: schemas/json/alerts.json" in told
    assert "stale: schemas/json/gone.json" in told
    generate.main([])
    assert generate.main(["--check"]) == 0
    assert not (folder / "schemas" / "json" / "gone.json").exists()


def test_every_topic_has_a_row_and_a_section():
    """The page names each stream twice: in the table and in a section of its own."""
    text = page.page(generate.COMMAND)
    for stream in STREAMS:
        assert f"| [{stream}](#{stream.replace('.', '')})" in text
        assert f"## {stream}\n" in text


def test_every_field_has_a_meaning_in_the_schema_and_on_the_page():
    """No field of a contract is without a docstring, and the page's row of it ends with that."""
    text = page.page(generate.COMMAND)
    for topic in contracts.table():
        definitions = contracts.json_schema(topic)["$defs"] if topic.contract else {}
        for name, definition in definitions.items():
            _, _, rest = text.partition(f"**{name}.** ")
            rows = rest.partition("\n\n**")[0]
            for field, described in definition["properties"].items():
                assert described.get("description"), f"{name}.{field} has no docstring"
                meaning = described["description"].replace("``", "`")
                assert re.search(rf"^\| `{field}` \| .+ \| {re.escape(meaning)} \|$", rows, re.MULTILINE), (name, field)


def test_the_page_shows_an_example_of_every_contract():
    """Each JSON block of the page is a golden example, and no contract is without one."""
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page.page(generate.COMMAND), re.DOTALL)]
    names = {contracts.schema_name(topic) for topic in contracts.table() if topic.contract}
    assert len(shown) == len(names)
    assert all(any(example in contracts.golden(name).values() for name in names) for example in shown)


def test_the_table_holds_every_stream_once_and_a_state_topic_a_service():
    """The table is complete and unambiguous."""
    rows = topics("p", 3, 7 * DAY_MS, DAY_MS)
    assert tuple(row.stream for row in rows) == STREAMS
    assert [row.name for row in rows] == [f"p.{stream}" for stream in STREAMS]
    assert {row.stream for row in rows if row.stream.startswith("state.")} == {f"state.{name}" for name in SERVICES}


def test_what_labels_need_is_kept_for_the_horizon_and_retention():
    """A prediction is kept for as long as its label may come, and the retention more."""
    rows = {row.stream: row for row in topics("p", 3, 7 * DAY_MS, 2 * DAY_MS)}
    for stream in ("labels.clean", "predictions", "outcomes"):
        assert rows[stream].config["retention.ms"] == str(9 * DAY_MS)
    assert rows["examples"].config["retention.ms"] == "-1"
    assert "retention.ms" not in rows["models"].config


def test_replicated_topics_need_two_in_sync_replicas():
    """With three replicas a write is acknowledged by two; with one there is nothing to ask for."""
    assert all(row.config.get("min.insync.replicas") == "2" for row in topics("p", 3, DAY_MS, DAY_MS, 3))
    assert all("min.insync.replicas" not in row.config for row in topics("p", 3, DAY_MS, DAY_MS))
