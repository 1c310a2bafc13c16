"""A tokenizer that takes too long ends the export with a reason, and well-known ones do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from trine.errors import NotACheckpoint, TrineError, UnsafeCheckpoint
from trine.export import tokenizer, trial
from trine.registry.rules import patterns, tokenizer_json


def tokenizer_file(path: Path, pattern: str, kind: str = "pre_tokenizer") -> Path:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    if kind == "normalizer":
        made.normalizer = normalizers.Replace(Regex(pattern), "x")
    else:
        made.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    made.save(str(path))
    return path


def test_one_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its expression let through, so that the clock decides. What would end the process is only noted here."""
    monkeypatch.setattr(patterns, "PRESETS", frozenset({"b* +c"}))
    monkeypatch.setattr(trial, "LIMIT", 0.3)
    given_up: list[TrineError] = []
    path = tokenizer_file(tmp_path / "tokenizer.json", "b* +c")
    trial.check(path, given_up.append, texts={"65 536 spaces": lambda: " " * 16_000})
    assert [type(error) for error in given_up] == [UnsafeCheckpoint]
    assert given_up[0].message == "tokenizer.json takes longer than 0.3 s to read 65 536 spaces"


def test_giving_up_ends_the_process_though_the_tokenizer_runs(tmp_path: Path) -> None:
    tokenizer_file(tmp_path / "tokenizer.json", "b* +c")
    program = (
        "from pathlib import Path; from trine.export import trial; from trine.registry.rules import patterns\n"
        "patterns.PRESETS = frozenset({'b* +c'}); trial.LIMIT = 0.3\n"
        "trial.check(Path('tokenizer.json'), texts={'spaces': lambda: ' ' * 1_000_000})"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1
    assert "tokenizer.json takes longer than" in run.stderr


def test_what_does_not_load_is_refused(tmp_path: Path) -> None:
    """Its parts are known, and do not fit together."""
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}')
    tokenizer_json.check(path)
    with pytest.raises(NotACheckpoint, match=r"tokenizer\.json does not load"):
        trial.check(path)


@pytest.mark.parametrize("slow", patterns.LINEAR)
def test_a_slow_expression_is_written_as_one_that_finds_the_same(tmp_path: Path, slow: str) -> None:
    texts = ["", " ", "a", "  a", "a  ", "  a  b  ", "   ", "a\n  ", "  \n a  \n", " a\n\n b "]
    fast = patterns.LINEAR[slow]
    for text in texts:
        replaced = [normalizers.Replace(Regex(each), "<>").normalize_str(text) for each in (slow, fast)]
        assert replaced[0] == replaced[1], text
    path = tokenizer_file(tmp_path / "tokenizer.json", slow, "normalizer")
    with pytest.raises(UnsafeCheckpoint, match="regular expression"):
        tokenizer_json.check(path)
    tokenizer_json.check(path, quadratic=True)
    path.write_text(tokenizer._in_one_pass(path.read_text()))
    trial.check(path)


@pytest.mark.proof
@pytest.mark.parametrize("pattern", sorted(patterns.PRESETS))
@pytest.mark.parametrize("kind", ["normalizer", "pre_tokenizer"])
def test_no_preset_takes_too_long(tmp_path: Path, pattern: str, kind: str) -> None:
    given_up: list[TrineError] = []
    trial.check(tokenizer_file(tmp_path / "tokenizer.json", pattern, kind), given_up.append)
    assert given_up == []
