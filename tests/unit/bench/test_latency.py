"""From moments to figures: time to first token, time between tokens, and the floors that speak of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import arrivals, interference, promises
from bench.arrivals import Comparison, Side
from bench.interference import Found
from bench.options import Common
from bench.streams import Heard


def test_between_tokens_counts_only_while_all_streams_run() -> None:
    early = Heard(0.0, [1.0, 2.0, 3.0, 5.0])
    late = Heard(0.0, [2.0, 3.5, 6.0, 9.0])
    assert early.first == 1.0
    assert interference.between([early, late]) == [1.0, 2.0, 1.5]


def test_multiples_of_a_disturbance() -> None:
    found = Found([0.01] * 99 + [0.02], [0.01] * 90 + [0.05] * 10, [0.1, 0.2, 0.3], [0.4, 0.5])
    assert found.gap_multiple == pytest.approx(5.0)
    assert found.prompt_multiple == pytest.approx(0.45 / 0.2)


def compared() -> Comparison:
    sides = {"served int8": Side([0.1, 0.2], 3.0, 100), "CTranslate2 int8": Side([1.0, 0.5], 4.0, 100)}
    return Comparison("gpt2-124m", 500.0, 9.7, sides)


def test_first_tokens_are_compared_at_the_same_percentile() -> None:
    assert compared().multiple(0.5) == pytest.approx(0.2)
    assert compared().multiple(0.95) == pytest.approx(0.2)
    (text,) = [line for line in arrivals._lines([compared()]) if line.startswith("gpt2-124m: ours")]
    assert text.endswith("0.20 at p50, 0.2 (at most 0.5: reached) at p95.")


def test_all_floors_stand_in_one_table(tmp_path: Path) -> None:
    """Each part's own JSON is what the table is made of; a part that never ran is missing."""
    options = Common(folder=tmp_path, results=tmp_path, parts=(), rounds=5, threads=2, tiny=False)
    common: dict[str, object] = {"machine": {"date": "today"}, "load": {"others": 0.25}}
    multiple = {"ours": "served int8", "peer": "CTranslate2 int8", "median": 1.5, "lower": 1, "upper": 2}
    works = [{"shape": "gpt2-124m", "name": "batch 1", "multiples": [multiple | {"floor": 1.6}]}]
    parts: dict[str, dict[str, object]] = {
        "generation": {"works": works},
        "arrivals": {"comparisons": [arrivals._json(compared())]},
        "interference": interference._json(Found([1.0], [2.0], [1.0], [3.0])),
        "overhead": {"added_ms_per_token": {"served": 0.02, "streamed": 0.2}, "floor": 0.15},
    }
    for name, data in parts.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(common | data))
    text = promises.write(options, promises.PARTS)
    assert "| gpt2-124m, batch 1 | 1.5 (1–2); floor 1.6: **missed** | - |" in text  # noqa: RUF001
    assert "| gpt2-124m, served int8 | 0.10 | 0.20 | 0.2 (at most 0.5: reached) |" in text
    assert "| inter-token p99 to undisturbed | 2 (at most 3: reached) |" in text
    assert "| the prompt's first token to its time alone | 3 (at most 2.5: **missed**) |" in text
    assert "| streamed | 0.2 ms (at most 0.15 ms: **missed**) |" in text
    assert text.count("all else on the machine took 25% of its time") == 4
    (tmp_path / "overhead.json").unlink()
    assert "streamed" not in promises.write(options, promises.PARTS)


def test_the_page_keeps_what_was_written_by_hand_and_by_other_benches(tmp_path: Path) -> None:
    page = tmp_path / "promises.md"
    one, two = promises.BEGIN.format("one"), promises.BEGIN.format("two")
    page.write_text(f"before\n{one}\n\nold\n{promises.END}\nbetween\n{two}\n{promises.END}\nafter\n")
    promises.publish("| new |\n", "two", page)
    promises.publish("| newer |\n", "two", page)
    expected = f"before\n{one}\n\nold\n{promises.END}\nbetween\n{two}\n\n| newer |\n\n{promises.END}\nafter\n"
    assert page.read_text() == expected
    with pytest.raises(ValueError, match="not found"):
        promises.publish("| new |\n", "three", page)


@pytest.mark.parametrize("program", ["bench.generation", "bench.encoders"])
def test_the_docs_have_a_place_for_each_bench(program: str) -> None:
    whole = promises.PAGE.read_text()
    assert promises.END in whole[whole.index(promises.BEGIN.format(program)) :]
