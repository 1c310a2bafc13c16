"""What an export is asked to do, and what a checkpoint folder is before anything of it runs. Front and export process.

`inspect` reads JSON and hashes bytes, nothing else: no weight is loaded and no tokenizer is built, so it is safe on a hostile
folder. It hashes every byte that decides the artifact (about 0.5 s per GB), so an event loop calls it in a thread.
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
from trine.export.folder import read_object, regular_files
from trine.registry.architectures import ARCHITECTURES, KNOWN_GAPS, Architecture

RECIPE = "3"
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
    _refuse_code(config, CONFIG)
    if "tokenizer_config.json" in entries:
        _refuse_code(read_object(entries, "tokenizer_config.json"), "tokenizer_config.json")
    architecture = _architecture(config)
    if task is not None and task not in architecture.tasks:
        raise WrongTask(f"{architecture.name} does {_listed(architecture.tasks)}, not {task}", field="task")
    if precision and precision.target is Target.CUDA and architecture.family is not Family.DECODER:
        raise UnsupportedArchitecture(
            f"{architecture.name} is not supported on CUDA: the decoder family alone is"
        )
    weights = _weight_files(entries)
    if _VOCABULARIES.isdisjoint(entries):
        raise NotACheckpoint("the folder has no tokenizer", field="path")
    task = task or architecture.default_task
    relevant = [*weights, *(path for name, path in entries.items() if name in _TEXT_FILES)]
    if task is Task.EMBEDDING:
        relevant += sentence_transformer.read(folder).files
    return CheckpointInfo(
        architecture=architecture.name,
        family=architecture.family,
        task=task,
        weight_bytes=sum(path.stat().st_size for path in weights),
        digest=_digest(relevant, task, precision, gate),
    )


def _refuse_code(config: dict[str, Any], name: str) -> None:
    if config.get("auto_map"):
        raise UnsafeCheckpoint(f"{name} asks for the checkpoint's own code (auto_map), which is never run")


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
        names = set(shards.values()) if isinstance(shards, dict) else set()
        if not names or not all(isinstance(name, str) and name in entries for name in names):
            raise NotACheckpoint(f"{WEIGHTS_INDEX} names files that the folder lacks")
        return [entries[name] for name in sorted(names)]
    if any(path.suffix in _PICKLES for path in entries.values()):
        raise UnsafeCheckpoint(
            "the weights are pickle files, which can run code; convert them to safetensors"
        )
    raise NotACheckpoint(f"the folder has no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}", field="path")


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
