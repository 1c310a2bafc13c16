"""How a checkpoint's hidden states become one embedding, as sentence-transformers' files in its folder say it. Front and export process.

    modules.json                  the modules in turn: a transformer, one pooling, and perhaps a normalization
    1_Pooling/config.json         which pooling (the folder's name stands in modules.json)
    sentence_bert_config.json     the longest text that it was made for, in tokens
    config_sentence_transformers.json    whether a prompt stands before every text

They are read where they are, and nothing of them runs; what they ask for and we do not have is refused, since without it every
embedding would be another one. A folder without modules.json is a plain encoder: the mean of its hidden states, not normalized.
The layout is that of https://sbert.net/docs/package_reference/sentence_transformer/models.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine.artifact import Pooling
from trine.errors import NotACheckpoint, UnsupportedArchitecture
from trine.export.folder import file_below, read_object, regular_files
from trine.registry.rules import configs, documents

MODULES = "modules.json"
LENGTH = "sentence_bert_config.json"
_POOLING_CONFIG = "config.json"
_PROMPTS = "config_sentence_transformers.json"

_MODES = {
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_lasttoken": Pooling.LAST,
}
"""The switches of a pooling's config; those of releases that name one mode instead are in `_NAMED`."""
_NAMED = {"cls": Pooling.CLS, "mean": Pooling.MEAN, "max": Pooling.MAX, "lasttoken": Pooling.LAST}


@dataclass(frozen=True, slots=True)
class Embedding:
    pooling: Pooling = Pooling.MEAN
    normalize: bool = False
    max_tokens: int | None = None
    """Special tokens included; None: as long as the architecture's context."""
    files: tuple[Path, ...] = ()
    """What all this was read from."""


def read(folder: Path) -> Embedding:
    """Blocking. Raises NotACheckpoint, UnsafeCheckpoint or UnsupportedArchitecture."""
    entries = regular_files(folder)
    if MODULES not in entries:
        return Embedding()
    pooling, normalize = _modules(documents.read(entries[MODULES]))
    config = file_below(folder, pooling, _POOLING_CONFIG)
    if config is None:
        raise NotACheckpoint(f"{MODULES} names a pooling whose config is not in the folder")
    _refuse_prompt(entries)
    settings = documents.read(config)
    configs.check(settings, f"the pooling's {_POOLING_CONFIG}")
    files = [entries[MODULES], config, *(entries[name] for name in (LENGTH, _PROMPTS) if name in entries)]
    return Embedding(_mode(settings), normalize, _max_tokens(entries), tuple(files))


def _modules(modules: Any) -> tuple[str, bool]:
    """The folder of the pooling, and whether a normalization follows it."""
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise NotACheckpoint(f"{MODULES} is not a list of modules")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedArchitecture(
            "an embedding is a transformer, one pooling and perhaps a normalization; the checkpoint has other modules"
        )
    if modules[0].get("path") not in ("", None):
        raise UnsupportedArchitecture("the transformer of the checkpoint must lie in the folder itself")
    return str(modules[1].get("path", "")), len(kinds) == 3


def _mode(config: Any) -> Pooling:
    if not isinstance(config, dict):
        raise NotACheckpoint("the pooling's config is not a JSON object")
    switched = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    found = [_MODES.get(key) for key in switched]
    if config.get("pooling_mode") is not None:
        found = [_NAMED.get(str(config["pooling_mode"]))]
    if len(found) != 1 or found[0] is None:
        raise UnsupportedArchitecture(
            f"the checkpoint's pooling is not supported; supported is one of {', '.join(Pooling)}"
        )
    return found[0]


def _max_tokens(entries: Mapping[str, Path]) -> int | None:
    settings = read_object(entries, LENGTH) if LENGTH in entries else {}
    if settings.get("do_lower_case"):
        raise UnsupportedArchitecture("a checkpoint that wants its texts in lower case is not supported")
    length = settings.get("max_seq_length")
    return length if type(length) is int and length > 0 else None  # JSON's true is an int to isinstance


def _refuse_prompt(entries: Mapping[str, Path]) -> None:
    settings = read_object(entries, _PROMPTS) if _PROMPTS in entries else {}
    if settings.get("default_prompt_name") is not None:
        raise UnsupportedArchitecture("a checkpoint that puts a prompt before every text is not supported")
