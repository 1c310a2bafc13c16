"""Artifacts that nobody should trust, each made of a good one by one change, and the rule that refuses it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.registry.evil import Evil
from tests.unit.registry.rules import onnx_file as onnx
from tests.unit.registry.rules.onnx_file import external_tensor, node, raw_tensor
from trine import artifact
from trine.artifact import (
    Family,
    Limits,
    Manifest,
    Parity,
    ParityCheck,
    Precision,
    SelfTest,
    Task,
)

MANIFEST, GRAPH, WEIGHTS, TOKENIZER, REPORT = (
    *("manifest.json", "model.onnx", "model.onnx.data"),
    *("tokenizer.json", "report.json"),
)
WORDS: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"},
}


def good(folder: Path) -> Path:
    """An artifact that every rule lets through; no engine could run it."""
    folder.mkdir()
    (folder / GRAPH).write_bytes(onnx.model())
    (folder / WEIGHTS).write_bytes(onnx.WEIGHT_BYTES)
    (folder / TOKENIZER).write_text(json.dumps(WORDS))
    (folder / REPORT).write_text('{"passed": true}')
    artifact.seal(folder, manifest())
    return folder


def manifest() -> Manifest:
    return Manifest(
        architecture="BertForSequenceClassification",
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        vocab_size=10,
        limits=Limits(max_input_tokens=16),
        self_test=SelfTest([[1, 2]], [[0.5, 0.25]], 1e-3),
        parity=Parity(True, (ParityCheck("logits", 1e-6, 1e-4, False, True, 64),)),
        parameters=40,
        opset=21,
        exporter="trine",
        labels=("bad", "good"),
    )


def resealed(folder: Path, **changes: Any) -> None:
    """The manifest as its maker would write it: every hash is right."""
    document = json.loads((folder / MANIFEST).read_text())
    for path in folder.iterdir():
        if path.is_file() and path.name != MANIFEST:
            document["files"][path.name] = {"sha256": artifact.sha256(path), "size": path.stat().st_size}
    document["files"] = {name: each for name, each in document["files"].items() if (folder / name).exists()}
    (folder / MANIFEST).write_text(json.dumps(document | changes))


def with_file(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)
        resealed(folder)

    return spoil


def raw(name: str, content: str) -> Callable[[Path], None]:
    """A file as it is, which no manifest knows."""

    def spoil(folder: Path) -> None:
        (folder / name).write_text(content)

    return spoil


def with_fields(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: resealed(folder, **fields)


def with_graph(content: bytes) -> Callable[[Path], None]:
    return with_file(GRAPH, content)


def with_tensor(tensor: bytes) -> Callable[[Path], None]:
    return with_graph(onnx.model(graph=onnx.graph(tensors=(onnx.WEIGHT, onnx.BIAS, tensor))))


def with_node(added: bytes) -> Callable[[Path], None]:
    return with_graph(onnx.model(graph=onnx.graph(nodes=(*onnx.NODES, added))))


def with_tokenizer(**parts: Any) -> Callable[[Path], None]:
    return with_file(TOKENIZER, json.dumps(WORDS | parts).encode())


def _place(**place: str) -> bytes:
    return external_tensor("v", [4, 8], {"location": WEIGHTS, "offset": "0", "length": "128"} | place)


def _flip(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[17] ^= 4
    (folder / WEIGHTS).write_bytes(content)


def _link(name: str, target: str | None = None) -> Callable[[Path], None]:
    """The file itself moved out of the folder, and a link in its place."""

    def spoil(folder: Path) -> None:
        outside = folder.parent / f"{folder.name}-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(target or outside)

    return spoil


def _hard_link(folder: Path) -> None:
    os.link(folder / WEIGHTS, folder.parent / f"{folder.name}-elsewhere")


def _folder(folder: Path) -> None:
    (folder / "more").mkdir()


def _pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def _many(folder: Path) -> None:
    for number in range(30):
        (folder / str(number)).write_bytes(b"")


def _without(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        resealed(folder)

    return spoil


_INNER = onnx.graph()
_CACHE = {"layers": 2, "kv_heads": 2, "head_dim": 8}

FILES = (
    Evil("a flipped bit", _flip, WEIGHTS, "not as it was published"),
    Evil("a missing file", _without(WEIGHTS), WEIGHTS, "behind the end"),
    Evil("a missing tokenizer", _without(TOKENIZER), TOKENIZER, "lacks the file"),
    Evil(
        "a file too many",
        raw("evil.so", ""),
        "evil.so",
        "does not list",
    ),
    Evil("a listed file too many", with_file("evil.so", b"\x7fELF"), "evil.so", "does not have"),
    Evil("a custom operator library", with_file("libcustom.so", b"\x7fELF"), "libcustom.so", "does not have"),
    Evil("a link", _link(WEIGHTS), WEIGHTS, "no plain file"),
    Evil("a link to the system", _link(TOKENIZER, "/etc/passwd"), TOKENIZER, "no plain file"),
    Evil("a hard link", _hard_link, WEIGHTS, "a hard link"),
    Evil("a folder", _folder, "more", "no plain file"),
    Evil("a pipe", _pipe, WEIGHTS, "no plain file"),
    Evil("thirty files", _many, "artifact", "more than 16 files"),
    Evil(
        "a name above",
        with_fields(files={"../model.onnx": {"sha256": "", "size": 0}}),
        MANIFEST,
        "does not list",
    ),
)
MANIFESTS = (
    Evil("no manifest", lambda folder: (folder / MANIFEST).unlink(), MANIFEST, "not an artifact"),
    Evil("a manifest that is a list", raw(MANIFEST, "[]"), MANIFEST, "not that of an artifact"),
    Evil("a nested manifest", raw(MANIFEST, '{"a":' * 9000 + "1" + "}" * 9000), MANIFEST, "more than 32 deep"),
    Evil("the same key twice", raw(MANIFEST, '{"format": 1, "format": 1}'), MANIFEST, "same key twice"),
    Evil("a field of no kind", with_fields(plugins=["evil"]), MANIFEST, "not that of an artifact"),
    Evil("another format", with_fields(format=2), "artifact", "another format"),
    Evil("an architecture of no kind", with_fields(architecture="EvilModel"), "artifact", "none that this release exports"),
    Evil("another task", with_fields(task="translation"), MANIFEST, "a family or a task"),
    Evil("another precision", with_fields(precision="fp16"), MANIFEST, "a precision that its device"),
    Evil("a huge vocabulary", with_fields(vocab_size=1 << 40), MANIFEST, "vocab_size"),
    Evil("a huge context", with_fields(limits={"max_input_tokens": 1 << 40}), MANIFEST, "max_input_tokens"),
    Evil("less than no context", with_fields(limits={"max_input_tokens": -1}), MANIFEST, "max_input_tokens"),
    Evil("a huge cache", with_fields(cache=_CACHE | {"layers": 1 << 40}), MANIFEST, "layers"),
    Evil("a cache of no use", with_fields(cache=_CACHE), MANIFEST, "cache that its task has no use for"),
    Evil("an embedding of no use", with_fields(embedding_size=8), MANIFEST, "embedding_size that its task"),
    Evil("no labels", with_fields(labels=[]), MANIFEST, "no labels"),
    Evil("a label with control characters", with_fields(labels=["\x1b[2J", "b"]), MANIFEST, "control characters"),
    Evil("a label as long as a book", with_fields(labels=["a" * 100_000, "b"]), MANIFEST, "more than 4096 characters"),
    Evil("a token of no vocabulary", with_fields(unk_id=10), MANIFEST, "a token's number"),
    Evil("no self-test", with_fields(self_test={"inputs": [], "outputs": [], "tolerance": 1e-3}), MANIFEST, "a self-test without"),
    Evil("a self-test that always passes", with_fields(self_test={"inputs": [[1]], "outputs": [[1.0]], "tolerance": 1e9}), MANIFEST, "tolerance is not between"),
    Evil("a self-test of other tokens", with_fields(self_test={"inputs": [[1 << 30]], "outputs": [[1.0]], "tolerance": 1e-3}), MANIFEST, "outside of its vocabulary"),
    Evil("a gate that never ran", with_fields(parity={"passed": True, "checks": []}), MANIFEST, "do not bear out"),
    Evil("a gate that failed", with_fields(parity={"passed": False, "checks": []}), MANIFEST, "that failed"),
    Evil("figures that lie", with_fields(parity={"passed": True, "checks": [{"name": "logits", "value": 9.0, "limit": 1.0, "at_least": False, "passed": True, "count": 1}]}), MANIFEST, "do not bear out"),
    Evil("a report that is a list", with_file(REPORT, b"[]"), REPORT, "not a JSON object"),
)  # fmt: skip
GRAPHS = (
    Evil("no graph", with_graph(b""), GRAPH, "version of the format"),
    Evil("a pickle", with_graph(b"\x80\x04N."), GRAPH, "not an ONNX graph"),
    Evil("a graph cut in two", with_graph(onnx.model()[:-9]), GRAPH, "has been cut"),
    Evil("two graphs", with_graph(onnx.model((7, onnx.graph()))), GRAPH, "field 7 twice"),
    Evil("a function", with_graph(onnx.model((25, b""))), GRAPH, "field 25, which is not expected"),
    Evil("training", with_graph(onnx.model((20, b""))), GRAPH, "field 20, which is not expected"),
    Evil("a group", with_graph(onnx.model() + b"\x0b\x0c"), GRAPH, "a group"),
    Evil("a number in an odd form", with_graph(b"\x08\x8a\x00" + onnx.model()[2:]), GRAPH, "odd form"),
    Evil("an operator of strangers", with_node(node("Run", ["x"], "z", domain="evil.ops")), GRAPH, "does not write: Run"),
    Evil("a domain of strangers", with_graph(onnx.model(opsets=(onnx.opset("evil.ops", 1),))), GRAPH, "domain that is not known: evil.ops"),
    Evil("an operator of the runtime", with_node(node("EPContext", ["x"], "z", domain="com.microsoft")), GRAPH, "does not write: EPContext"),
    Evil("a loop", with_node(node("Loop", ["x"], "z", onnx.attribute("body", (6, _INNER)))), GRAPH, "does not write: Loop"),
    Evil("a condition", with_node(node("If", ["x"], "z")), GRAPH, "does not write: If"),
    Evil("a graph in a known operator", with_node(node("Add", ["x", "b"], "z", onnx.attribute("body", (6, _INNER)))), GRAPH, "field 6, which is not expected"),
    Evil("graphs in a known operator", with_node(node("Add", ["x", "b"], "z", onnx.attribute("body", (11, _INNER)))), GRAPH, "field 11, which is not expected"),
    Evil("a reference to a function", with_node(node("Add", ["x", "b"], "z", onnx.attribute("a", (21, "b")))), GRAPH, "field 21, which is not expected"),
    Evil("chance", with_node(node("RandomNormal", [], "z")), GRAPH, "does not write: RandomNormal"),
    Evil("an operator of a future", with_graph(onnx.model(opsets=(onnx.opset("", 99),))), GRAPH, "version that is not known"),
    Evil("options of the session", with_graph(onnx.model((14, onnx.entry("ort_config", "{}")))), GRAPH, "options of the session"),
    Evil("weights above", with_tensor(_place(location="../secret")), GRAPH, "in another file"),
    Evil("weights from the root", with_tensor(_place(location="/etc/passwd")), GRAPH, "in another file"),
    Evil("weights in the tokenizer", with_tensor(_place(location=TOKENIZER)), GRAPH, "in another file"),
    Evil("weights at two places", with_tensor(_place() + onnx.field(13, onnx.entry("location", "/etc/passwd"))), GRAPH, "odd words"),
    Evil("weights with an attribute", with_tensor(_place(basepath="/etc")), GRAPH, "odd words"),
    Evil("weights behind the end", with_tensor(_place(offset="1")), GRAPH, "behind the end"),
    Evil("weights before the beginning", with_tensor(_place(offset="-128")), GRAPH, "a place that is no number"),
    Evil("weights at a very long number", with_tensor(_place(offset="9" * 5000)), GRAPH, "a place that is no number"),
    Evil("weights of another length", with_tensor(_place(length="64")), GRAPH, "not as large as its bytes"),
    Evil("a tensor shorter than its shape", with_tensor(raw_tensor("v", [1 << 20], bytes(4))), GRAPH, "not as large as its bytes"),
    Evil("a tensor of a negative side", with_tensor(raw_tensor("v", [-1], b"")), GRAPH, "with a shape"),
    Evil("a tensor that overflows", with_tensor(raw_tensor("v", [1 << 62, 1 << 62], b"")), GRAPH, "with a shape"),
    Evil("a tensor of strings", with_tensor(raw_tensor("v", [1], b"", kind=8)), GRAPH, "type that is not read"),
    Evil("numbers one by one", with_tensor(raw_tensor("v", [1], b"") + onnx.field(7, 1)), GRAPH, "field 7, which is not expected"),
    Evil("two tensors of one name", with_tensor(raw_tensor("b", [8], bytes(32))), GRAPH, "two tensors of one name"),
    Evil("a sparse tensor", with_graph(onnx.model(graph=onnx.graph((15, b"")))), GRAPH, "field 15, which is not expected"),
    Evil("an input of no end", with_graph(onnx.model(graph=onnx.graph((11, onnx.value("z", 1 << 40))))), GRAPH, "tells of a tensor"),
    Evil(
        "a graph that fills the memory",
        with_graph(
            onnx.model(
                graph=onnx.graph(
                    nodes=(*onnx.NODES, node("ConstantOfShape", ["s"], "z")),
                    tensors=(onnx.WEIGHT, onnx.BIAS, raw_tensor("s", [1], (1 << 34).to_bytes(8, "little"), onnx.INT64)),
                )
            )
        ),
        GRAPH,
        "ConstantOfShape that makes more than",
    ),
)  # fmt: skip
OTHERS = (
    Evil("a chain of replacements", with_tokenizer(normalizer={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaa"}] * 8}), TOKENIZER, "more than 16 characters of one"),
    Evil("an expression that goes back", with_tokenizer(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}), TOKENIZER, "regular expression"),
    Evil("an expression that is slow", with_tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": " +$"}, "content": ""}), TOKENIZER, "regular expression"),
    Evil("a language code that goes back", with_tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": r"\A(a+)+$"}, "content": ""}), TOKENIZER, "regular expression"),
    Evil("a template of 1 MB", with_file("chat_template.jinja", b"{{ 1 }}" * 200_000), "chat_template.jinja", "does not have"),
)  # fmt: skip
ALL = (*FILES, *MANIFESTS, *GRAPHS, *OTHERS)
