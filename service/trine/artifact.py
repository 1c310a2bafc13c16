"""The exported folder: what its manifest says, where its files are, how it is opened and published. Any process.

    manifest.json                    this module's Manifest; the only file that serving decides by
    tokenizer.json                   how inputs are tokenized, and how outputs are detokenized unless target_tokenizer.json exists
    target_tokenizer.json            how outputs are detokenized (Marian)
    model.onnx      model.onnx.data      encoder or decoder family
    copy.onnx                            decoder family on CUDA: copies cached tokens
    encoder.onnx    encoder.onnx.data    encoder-decoder family: source ids -> cross keys and values
    decoder.onnx    decoder.onnx.data    encoder-decoder family: one step
    chat_template.jinja              how a conversation becomes a prompt, where the checkpoint says so
    special_tokens_map.json          the special tokens that the template may name
    report.json                      the parity gate's report in full

An artifact never changes after `publish`; whoever opens it may check every hash.
"""

from __future__ import annotations

import enum
import hashlib
import os
from pathlib import Path

import msgspec

from trine.errors import ArtifactCorrupt

FORMAT = 1
MANIFEST = "manifest.json"
REPORT = "report.json"


class Family(enum.StrEnum):
    ENCODER = "encoder"
    DECODER = "decoder"
    ENCODER_DECODER = "encoder-decoder"


class Task(enum.StrEnum):
    CLASSIFICATION = "classification"
    TOKEN_CLASSIFICATION = "token-classification"
    EMBEDDING = "embedding"
    GENERATION = "generation"
    TRANSLATION = "translation"
    SUMMARIZATION = "summarization"


class Target(enum.StrEnum):
    """The device that an artifact's graphs are written for. No graph of one runs on the other (docs/decisions/0013)."""

    CPU = "cpu"
    CUDA = "cuda"


class Pooling(enum.StrEnum):
    """How the hidden states of a text's tokens become its embedding."""

    MEAN = "mean"
    """Their mean, special tokens included."""
    CLS = "cls"
    """The first token's."""
    MAX = "max"
    """The largest value in each dimension."""
    LAST = "last"
    """The last token's."""


class Precision(enum.StrEnum):
    """Numbers in which a graph multiplies with its large weights. FP32 and INT8: everything else is float32."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"
    """The whole graph and the cache, but for the logits."""
    BF16 = "bf16"
    """As FP16."""

    @property
    def target(self) -> Target:
        return Target.CUDA if self in {Precision.FP16, Precision.BF16} else Target.CPU


class WeightForm(enum.StrEnum):
    """How int8 weights are stored; which one is exact and fast depends on the CPU (export.quantize)."""

    S8 = "s8"
    """Signed. x86 without VNNI saturates on it."""
    U8 = "u8"
    """Unsigned around 128: exact everywhere, slower with VNNI."""
    S7 = "s7"
    """Signed, 7 bits used: cannot saturate."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class CacheLayout(_Part, frozen=True):
    """Shape of the key/value cache: per layer two buffers [slots, kv_heads, capacity, head_dim]; in pages on CUDA."""

    layers: int
    kv_heads: int
    head_dim: int


class Limits(_Part, frozen=True):
    """Tokens, special tokens included."""

    max_input_tokens: int
    """Decoder family: prompt and new tokens together. Encoder-decoder: the source alone."""
    max_output_tokens: int = 0
    """Encoder-decoder: the start token counts, since it takes a place in the decoder's context. 0 for the encoder family."""


class Generation(_Part, frozen=True):
    """What a generating graph needs to be driven as transformers drives it with greedy search."""

    eos_ids: tuple[int, ...]
    start_id: int | None = None
    """First decoder token of the encoder-decoder family."""
    forced_first_id: int | None = None
    forced_last_id: int | None = None
    """Token that is put in the last place when the context ends (transformers' forced_eos_token_id)."""
    suppressed_ids: tuple[int, ...] = ()
    """Tokens that are never chosen (bad_words_ids of one token)."""
    input_prefix: str = ""
    """What the checkpoint was trained to see before each text of its task (T5's "summarize: ")."""


class SelfTest(_Part, frozen=True):
    """A stored input and its stored answer, which an engine repeats when it starts."""

    inputs: list[list[int]]
    """Token ids of a few sequences."""
    outputs: list[list[float]]
    """Encoder: the logits of each text, or the first values of its [tokens, labels] or [tokens, hidden], row by row. Others: the first 64
    logits after the input (encoder-decoder: after the start token)."""
    tolerance: float
    """max|a-b| / max|b| allowed for each row."""


class ParityCheck(_Part, frozen=True):
    name: str
    value: float
    limit: float
    at_least: bool
    passed: bool
    count: int


class Parity(_Part, frozen=True):
    """The gate's verdict, as it stands in the manifest; report.json has the details."""

    passed: bool
    checks: tuple[ParityCheck, ...]
    overridden: bool = False
    """It failed, and was published all the same, because the registration asked for that."""


class FileRecord(_Part, frozen=True):
    sha256: str
    size: int


class Manifest(_Part, frozen=True):
    """Everything that an engine must know about its artifact."""

    architecture: str
    """As in the config's `architectures`: "BertForSequenceClassification"."""
    family: Family
    task: Task
    precision: Precision
    vocab_size: int
    limits: Limits
    self_test: SelfTest
    parity: Parity
    parameters: int
    opset: int
    exporter: str
    """Name and version of what made the graphs, for people."""
    labels: tuple[str, ...] = ()
    """Classification and token classification, in the order of the logits."""
    multi_label: bool = False
    """Classification: scores by sigmoid instead of softmax."""
    pairs: bool = False
    """Classification: whether an input may have a second text; a graph of an architecture with token types then has the input
    `token_type_ids` int64 [1, T]."""
    pooling: Pooling | None = None
    """Embedding: of the graph's output `hidden` float32 [T, embedding_size]."""
    normalize: bool = False
    """Embedding: to length 1, unless the request says otherwise."""
    embedding_size: int = 0
    position_offset: int = 0
    """What is added to token positions before they enter the graph (RoBERTa counts from padding id + 1)."""
    weight_form: WeightForm | None = None
    """int8 only."""
    precision_reason: str = ""
    """Why the artifact is float32 although int8 was tried: the gate's figures."""
    unk_id: int | None = None
    """What a tokenizer's id at or beyond vocab_size is read as (pieces of Marian's source.spm that vocab.json lacks)."""
    cache: CacheLayout | None = None
    cross: CacheLayout | None = None
    generation: Generation | None = None
    languages: dict[str, int] = {}
    """Code to token id, of a checkpoint that is told its languages by tokens (mBART, M2M100, NLLB, Marian with many targets)."""
    files: dict[str, FileRecord] = {}
    """Every file of the folder but the manifest itself."""
    target: Target = Target.CPU
    format: int = FORMAT


class Artifact:
    """An opened artifact folder."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def path(self, name: str) -> Path:
        """The path of a file that the manifest lists. Raises ArtifactCorrupt for any other name."""
        if name not in self.manifest.files:
            raise ArtifactCorrupt(f"the artifact has no file {name}")
        return self.folder / name

    @property
    def size_bytes(self) -> int:
        return sum(record.size for record in self.manifest.files.values())


def open_artifact(folder: Path, *, check_hashes: bool = True) -> Artifact:
    """Read the manifest and check that every file is there as it was published. Raises ArtifactCorrupt.

    Hashing costs about 0.5 s per GB and core; `check_hashes=False` compares sizes only.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactCorrupt("the artifact's manifest cannot be read") from error
    if manifest.format != FORMAT:
        raise ArtifactCorrupt(f"the artifact has format {manifest.format}, this server reads {FORMAT}")
    for name, record in manifest.files.items():
        _check_file(folder, name, record, check_hashes)
    return Artifact(folder, manifest)


def _check_file(folder: Path, name: str, record: FileRecord, check_hash: bool) -> None:
    path = folder / name
    if "/" in name or name.startswith(".") or path.is_symlink() or not path.is_file():
        raise ArtifactCorrupt(f"the artifact lacks the file {name}")
    if path.stat().st_size != record.size or (check_hash and sha256(path) != record.sha256):
        raise ArtifactCorrupt(f"the artifact's file {name} is not as it was published")


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file of `folder`, write the manifest, and sync all to disk: the folder can now be renamed into its place."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            files[path.name] = FileRecord(sha256(path), path.stat().st_size)
            sync(path)
    manifest = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    sync(folder / MANIFEST)
    sync(folder)
    return manifest


def publish(staged: Path, target: Path) -> None:
    """Move a sealed folder into its place in one step: readers see nothing or everything.

    Raises FileExistsError or OSError when `target` exists already; the staged folder is then left as it is.
    """
    if target.exists():
        raise FileExistsError(target)
    os.rename(staged, target)
    sync(target.parent)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """A file's content, or what a folder lists, is on disk then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
