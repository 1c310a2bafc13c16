"""How candidates take turns, what a sample is made of, and what the floors say of it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

import pytest
from bench import closed, floors, plot, report, rounds
from bench.machine import Load
from bench.options import Options
from bench.rounds import Measured
from bench.shapes import Tokens, Vocabulary, Work
from bench.summary import Sample

WORK = Work("gpt2-tiny", 2, 6, 4)


class Stub:
    """Each generate costs `cost` seconds of processor time; the answer is `token` over and over."""

    facts = {"numbers": "made up"}

    def __init__(self, name: str, cost: float, calls: list[tuple[str, Tokens]], token: int = 7) -> None:
        self.name = name
        self._cost, self._calls, self._token, self._used = cost, calls, token, 100.0

    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]:
        self._calls.append((self.name, prompts))
        self._used += self._cost
        return [[self._token] * new_tokens for _ in prompts]

    def processor_seconds(self) -> float:
        return self._used

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_PAUSE", 0.0)


def seeds(seed: str) -> Tokens:
    """Prompts that show which they are."""
    return [[*seed.encode()]]


def asked(calls: list[tuple[str, Tokens]]) -> list[tuple[str, str]]:
    return [(name, bytes(prompts[0]).decode()) for name, prompts in calls]


def test_candidates_take_turns_on_the_same_prompts() -> None:
    calls: list[tuple[str, Tokens]] = []
    pair = [Stub("a", 1.0, calls), Stub("b", 2.0, calls)]
    rounds.measure(WORK, pair, 2, seeds, lambda line: None)
    expected = [(name, seed) for seed in ("before", "0.0", "1.0") for name in "ab"]
    assert asked(calls) == expected


def test_a_sample_is_milliseconds_for_each_token() -> None:
    measured = rounds.measure(WORK, [Stub("a", 1.6, [])], 2, seeds, lambda line: None)
    assert [sample.processor for sample in measured.samples["a"]] == pytest.approx([200, 200])


def test_short_work_is_repeated_with_new_prompts_and_still_counted_for_each_token() -> None:
    """A server that keeps what it computed of a prompt would be measured at half its work if a repeat were the same."""
    calls: list[tuple[str, Tokens]] = []
    measured = rounds.measure(WORK, [Stub("a", 0.08, calls)], 1, seeds, lambda line: None)
    assert measured.repeats == {"a": 8}
    assert asked(calls)[1:] == [("a", f"0.{repeat}") for repeat in range(8)]
    assert measured.samples["a"][0].processor == pytest.approx(10)


def test_agreement_counts_prompts_and_leaves_out_who_told_no_tokens() -> None:
    measured = Measured(WORK, written={"r": [[1, 2], [3, 4]], "a": [[1, 2], [3, 5]], "served": [[], []]})
    assert measured.agreement("r") == {"a": 0.5}
    assert measured.agreement("nobody") == {}


def measured(batch: int, **processor: float) -> Measured[Work]:
    found = Measured(Work("gpt2-124m", batch, 32, 32))
    for name, value in processor.items():
        found.samples[name.replace("_", " ")] = [Sample(value, value)] * 3
    return found


def test_floors_are_the_servers_in_its_own_precision() -> None:
    one = measured(
        8,
        runtime_int8=4,
        served_int8=5,
        served_fp32=10,
        CTranslate2_int8=8,
        CTranslate2_fp32=11,
        PyTorch_fp32=15,
    )
    told = {(ours, peer): (value.median, floor) for ours, peer, value, floor in floors.ratios(one, "gpt2")}
    assert told == {
        ("runtime int8", "CTranslate2 int8"): (2, None),
        ("runtime int8", "PyTorch fp32"): (3.75, None),
        ("served int8", "CTranslate2 int8"): (1.6, 1.25),
        ("served int8", "PyTorch fp32"): (3, 2),
        ("served fp32", "CTranslate2 fp32"): (1.1, 1.2),
        ("served fp32", "PyTorch fp32"): (1.5, 2),
    }


def test_beams_have_a_floor_of_their_own_and_optimum_has_none() -> None:
    one = Measured(Work("marian-6-6", 8, 24, 32, 4))
    for name, value in {"served fp32": 4.0, "CTranslate2 fp32": 6.0, "optimum-onnx fp32": 10.0}.items():
        one.samples[name] = [Sample(value, value)] * 2
    told = {peer: (value.median, floor) for _, peer, value, floor in floors.ratios(one, "marian")}
    assert told == {"CTranslate2 fp32": (1.5, 1.0), "optimum-onnx fp32": (2.5, None)}


def test_the_report_says_which_floors_were_missed() -> None:
    one = measured(8, served_int8=5, served_fp32=10, CTranslate2_int8=8, CTranslate2_fp32=11)
    text = report.markdown({"cores": "2"}, Load(60, 0.5, 0.25), {}, [one], ["gpt2-124m, something"])
    assert "| served int8 | CTranslate2 int8 | 1.6 (1.6–1.6) | 1.25: reached |" in text  # noqa: RUF001
    assert "| served fp32 | CTranslate2 fp32 | 1.1 (1.1–1.1) | 1.2: **missed** |" in text  # noqa: RUF001
    assert "everything else on the machine 25%" in text
    assert "gpt2-124m, something" in text


def test_the_plot_is_well_formed_and_has_a_bar_for_each_candidate() -> None:
    drawing = ElementTree.fromstring(plot.closed([measured(1, served_int8=5, CTranslate2_int8=8)] * 4))
    bars = [bar for bar in drawing.iter("{http://www.w3.org/2000/svg}rect") if bar.get("fill") != "white"]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert len(bars) == 8
    assert widths[1] / widths[0] == pytest.approx(1.6, abs=0.01)


def test_the_plan_has_what_the_floors_speak_of_first(tmp_path: Path) -> None:
    options = Options(
        folder=tmp_path,
        results=tmp_path,
        parts=("closed",),
        rounds=5,
        threads=2,
        minutes=13,
        tiny=False,
        full=False,
    )
    works = [work for group in closed.plan(options) for work in group.works]
    assert works[:3] == [Work("gpt2-124m", batch, 32, 32) for batch in (1, 8, 32)]
    assert works[3:7] == [
        *(Work("marian-6-6", batch, 24, 32) for batch in (1, 8, 32)),
        Work("marian-6-6", 8, 24, 32, 4),
    ]
    assert {work.input_tokens for work in works[7:]} == {256}


def test_prompts_are_the_same_for_the_same_seed_only() -> None:
    words = Vocabulary({token: f"w{token}" for token in range(10, 500)}, [0])
    first = words.prompts([6, 9], "3")
    assert first == words.prompts([6, 9], "3")
    assert first != words.prompts([6, 9], "4")
    assert [len(prompt) for prompt in first] == [6, 9]
    assert all(prompt[-1] == 0 and 0 not in prompt[:-1] for prompt in first)
    assert words.text([11, 12, 0]) == " w11 w12"


def test_special_tokens_count_on_both_ends() -> None:
    (prompt,) = Vocabulary({7: "w7"}, [3], [2]).prompts([5], "0")
    assert prompt == [2, 7, 7, 7, 3]
