"""What an export is asked to do, and what a checkpoint folder is before anything of it runs. Front and export process.

`inspect` reads configs and the headers of weights by the rules of registry.rules (docs/decisions/0016) and hashes bytes, nothing
else: no weight is loaded and no tokenizer is built, so it is safe on a hostile folder. It hashes every byte that decides the artifact
(about 0.5 s per GB), so an event loop calls it in a thread. A tokenizer.json, which may have 64 MB, is parsed in the export process.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine import artifact
from trine.artifact import Family, Precision, Target, Task
from trine.errors import NotACheckpoint, UnsafeCheckpoint, UnsupportedArchitecture, WrongTask
from trine.export import sentence_transformer
from trine.export.folder import read_object, refuse_code, regular_files
from trine.registry.architectures import ARCHITECTURES, KNOWN_GAPS, Architecture
from trine.registry.rules import configs, documents, tokenizer_json, weights
from trine.registry.rules.names import shown_file

RECIPE = "4"
"""Version of the export: raised whenever the same checkpoint would give another artifact."""

CONFIG = "config.json"
PROBES = "probes.jsonl"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

_VOCABULARIES = frozenset(
    {
        "tokenizer.json",
        "tokenizer.model",
        "vocab.json",
        "vocab.txt",
        "spiece.model",
        "spm.model",
        "sentencepiece.bpe.model",
    }
)
"""One of them has to be there: without any, transformers makes an empty tokenizer and says nothing."""
_TEXT_FILES = _VOCABULARIES | {
    CONFIG,
    PROBES,
    WEIGHTS_INDEX,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "target_vocab.json",
    "source.spm",
    "target.spm",
    "chat_template.jinja",
}
_OTHER_CONFIGS = frozenset({"special_tokens_map.json", "modules.json"})
_MAX_TEXT_BYTES = tokenizer_json.MAX_BYTES
_MAX_SHARDS = 1000
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})


class Gate(enum.StrEnum):
    """What the parity gate's verdict decides."""

    ENFORCE = "enforce"
    """Whether the version is published."""
    REPORT = "report"
    """Nothing: the version is published, and says that its gate was overridden."""


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint folder, before it is exported."""

    architecture: str
    family: Family
    task: Task
    weight_bytes: int
    digest: str
    """SHA-256, in hexadecimal, of every file that decides the artifact, of the recipe, the task, the precision and the gate."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """One export. Paths are absolute; `staging` is an empty folder that the export fills and seals, for its caller to publish."""

    checkpoint: Path
    staging: Path
    task: Task | None = None
    """None: the architecture's default."""
    precision: Precision | None = Precision.FP32
    """None: int8 where its gate passes, else float32. float16 and bfloat16 are for CUDA."""
    gate: Gate = Gate.ENFORCE
    digest: str = ""
    """What `inspect` told before; an export of files that have changed since then is refused. Empty: not compared."""
    timeout: float = 1800.0
    """Seconds."""
    memory_bytes: int = 0
    """Address space of the export process; 0: three times the weights (as float32) plus 8 GB."""
    threads: int = 0
    """0: what affinity and cgroup allow."""
    device_id: int = 0
    """The CUDA device that half precision is proved on."""

    def to_json(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, default=str)

    @classmethod
    def from_json(cls, text: str) -> ExportPlan:
        fields = json.loads(text)
        fields["checkpoint"], fields["staging"] = Path(fields["checkpoint"]), Path(fields["staging"])
        fields["task"] = Task(fields["task"]) if fields["task"] else None
        fields["precision"] = Precision(fields["precision"]) if fields["precision"] else None
        fields["gate"] = Gate(fields["gate"])
        return cls(**fields)


def inspect(
    folder: Path,
    task: Task | None,
    precision: Precision | None = Precision.FP32,
    gate: Gate = Gate.ENFORCE,
) -> CheckpointInfo:
    """What `folder` holds; `precision` and `gate` as in ExportPlan. Blocking: hashes the weights.

    Raises NotACheckpoint, UnsafeCheckpoint, UnsupportedArchitecture, or WrongTask when the architecture does not do `task`.
    """
    entries = regular_files(folder)
    config = read_object(entries, CONFIG)
    architecture = _architecture(config)
    if task is not None and task not in architecture.tasks:
        raise WrongTask(f"{architecture.name} does {_listed(architecture.tasks)}, not {task}", field="task")
    if precision and precision.target is Target.CUDA and architecture.family is not Family.DECODER:
        raise UnsupportedArchitecture(
            f"{architecture.name} is not supported on CUDA: the decoder family alone is"
        )
    task = task or architecture.default_task
    weight_files = _weight_files(entries)
    relevant = _relevant_files(folder, entries, weight_files, task)
    _check_rules(folder, entries, config, weight_files)
    return CheckpointInfo(
        architecture=architecture.name,
        family=architecture.family,
        task=task,
        weight_bytes=sum(path.stat().st_size for path in weight_files),
        digest=_digest(relevant, task, precision, gate),
    )


def relevant_files(folder: Path, task: Task | None) -> list[Path]:
    """Every file that decides the artifact, and nothing else: no other one is ever read. Raises as `inspect` does."""
    entries = regular_files(folder)
    task = task or _architecture(read_object(entries, CONFIG)).default_task
    return _relevant_files(folder, entries, _weight_files(entries), task)


def _relevant_files(
    folder: Path, entries: dict[str, Path], weight_files: list[Path], task: Task
) -> list[Path]:
    if _VOCABULARIES.isdisjoint(entries):
        raise NotACheckpoint("the folder has no tokenizer", field="path")
    found = [*weight_files, *(path for name, path in entries.items() if name in _TEXT_FILES)]
    if task is Task.EMBEDDING:
        found += sentence_transformer.read(folder).files
    return found


def _check_rules(
    folder: Path, entries: dict[str, Path], config: dict[str, Any], weight_files: list[Path]
) -> None:
    """Raises NotACheckpoint and UnsafeCheckpoint."""
    refuse_code(folder)
    for name, path in entries.items():
        if name in _TEXT_FILES and path.stat().st_size > _MAX_TEXT_BYTES:
            raise UnsafeCheckpoint(f"{name} is larger than {_MAX_TEXT_BYTES >> 20} MiB")
        if is_config(name):
            configs.check(documents.read(path), shown_file(name))
    tensors = _tensors(entries, weight_files)
    sides = frozenset(side for tensor in tensors.values() for side in tensor.shape)
    configs.check_sizes(config, sides, len(tensors), CONFIG)


def is_config(name: str) -> bool:
    """Whether a file of this name holds settings, not a vocabulary or an index."""
    return name.endswith(".json") and ("config" in name or name in _OTHER_CONFIGS)


def _architecture(config: dict[str, Any]) -> Architecture:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise NotACheckpoint(f"{CONFIG} does not name exactly one architecture")
    if names[0] not in ARCHITECTURES:
        raise UnsupportedArchitecture(_unsupported(names[0]))
    if config.get("quantization_config"):
        raise UnsupportedArchitecture("the checkpoint is quantized already; register the original weights")
    return ARCHITECTURES[names[0]]


def _unsupported(name: str) -> str:
    shown = name if name.isidentifier() and len(name) <= 100 else "the architecture"
    for beginning, reason in KNOWN_GAPS.items():
        if name.startswith(beginning):
            return f"{shown} is not supported: {reason}"
    return f"{shown} is not supported; supported are {_listed(ARCHITECTURES)}"


def _weight_files(entries: dict[str, Path]) -> list[Path]:
    """The safetensors files that hold the weights: the one, or all shards of the index."""
    if WEIGHTS in entries:
        return [entries[WEIGHTS]]
    if WEIGHTS_INDEX in entries:
        shards = read_object(entries, WEIGHTS_INDEX).get("weight_map")
        names = list(shards.values()) if isinstance(shards, dict) else []
        if not names or not all(isinstance(name, str) and name in entries for name in names):
            raise NotACheckpoint(f"{WEIGHTS_INDEX} names files that the folder lacks")
        if len(set(names)) > _MAX_SHARDS or not all(name.endswith(".safetensors") for name in names):
            raise UnsafeCheckpoint(
                f"{WEIGHTS_INDEX} names other files than at most {_MAX_SHARDS} of safetensors"
            )
        return [entries[name] for name in sorted(set(names))]
    if any(path.suffix in _PICKLES for path in entries.values()):
        raise UnsafeCheckpoint(
            "the weights are pickle files, which can run code; convert them to safetensors"
        )
    raise NotACheckpoint(f"the folder has no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}", field="path")


def _tensors(entries: dict[str, Path], weight_files: list[Path]) -> dict[str, weights.Tensor]:
    """Those of all weight files, by their headers; where there is an index, they are where it says."""
    found: dict[str, weights.Tensor] = {}
    places: dict[str, str] = {}
    for path in weight_files:
        tensors = weights.read(path)
        if not found.keys().isdisjoint(tensors):
            raise UnsafeCheckpoint(f"{shown_file(path.name)} has a tensor that another file has too")
        found |= tensors
        places |= dict.fromkeys(tensors, path.name)
    if WEIGHTS not in entries and places != read_object(entries, WEIGHTS_INDEX)["weight_map"]:
        raise NotACheckpoint(f"{WEIGHTS_INDEX} does not say where the tensors are")
    return found


def _digest(files: list[Path], task: Task, precision: Precision | None, gate: Gate) -> str:
    parts = [f"recipe {RECIPE}", f"task {task}", f"precision {precision or 'auto'}"]
    parts += ["gate report"] if gate is Gate.REPORT else []
    try:
        parts += [f"{path.name} {artifact.sha256(path)}" for path in sorted(files)]
    except OSError as error:
        raise NotACheckpoint("a file of the checkpoint cannot be read") from error
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))
