"""Checkpoints that nobody should trust, each made of a good one by one change, and the rule that refuses it.

`READ` are refused by what the server itself reads, `TOKENIZERS` by what the export process reads before any library does, `LOADED` once
the weights are in memory, `TRIED` when the tokenizer is tried on texts that hurt.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.unit.registry.evil import Evil
from tests.unit.registry.rules.safetensors_file import packed, safetensors

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
GENERATION, TOKENIZER, TOKENIZER_CONFIG = "generation_config.json", "tokenizer.json", "tokenizer_config.json"
CONFIG = "config.json"


def with_keys(name: str, **keys: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(document | keys))

    return spoil


def without_keys(name: str, *keys: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps({key: value for key, value in document.items() if key not in keys})
        )

    return spoil


def with_text(name: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")

    return spoil


def with_bytes(content: bytes, name: str = WEIGHTS) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The header of the weights changed; the tensors' bytes stay where they are."""

    def spoil(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        changed = change(header)
        (folder / WEIGHTS).write_bytes(packed(header if changed is None else changed, content[8 + length :]))

    return spoil


def _tensors(header: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for name, entry in header.items() if name != "__metadata__"]


def _widest(header: dict[str, Any]) -> dict[str, Any]:
    return max(_tensors(header), key=lambda entry: entry["data_offsets"][1] - entry["data_offsets"][0])


def _set(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: _widest(header).update(fields)


def _overlap(header: dict[str, Any]) -> None:
    first, second = sorted(_tensors(header), key=lambda entry: entry["data_offsets"])[:2]
    size = second["data_offsets"][1] - second["data_offsets"][0]
    second["data_offsets"] = [first["data_offsets"][0], first["data_offsets"][0] + size]


def _hole(header: dict[str, Any]) -> None:
    header.pop(next(name for name in header if name != "__metadata__"))


def _trailing(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


def _cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def _zip(content: bytes = b"") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return content + held.getvalue()


def _polyglot(folder: Path) -> None:
    """safetensors from the front, a zip archive from the back: its last tensor is one."""
    archive = _zip()
    header = {"a": {"dtype": "U8", "shape": [len(archive)], "data_offsets": [0, len(archive)]}}
    (folder / WEIGHTS).write_bytes(packed(header, archive))


def _cut_shard(folder: Path) -> None:
    names = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    (folder / names[0]).write_bytes(safetensors({"a": [4, 8]}))
    (folder / names[1]).write_bytes(safetensors({"b": [4, 8]})[:-50])
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))


def _shard_elsewhere(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "other.safetensors")
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))

    return spoil


def _link_out(folder: Path) -> None:
    (folder / "vocab.txt").unlink(missing_ok=True)
    (folder / "vocab.txt").symlink_to("/etc/hostname")


def _hard_link(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-secret"
    outside.write_text("{}")
    os.link(outside, folder / GENERATION)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / GENERATION)


def _sparse(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}}).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + (1 << 40))


def _nested(levels: int) -> str:
    return (
        '{"architectures": ["BertForSequenceClassification"], "a": '
        + '{"a":' * levels
        + "1"
        + "}" * (levels + 1)
    )


def _subfolder(folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "modeling.py").write_text("raise SystemExit")


READ = (
    # code, and what names it
    Evil("auto_map", with_keys(CONFIG, auto_map={"AutoModel": "modeling.Model"}), CONFIG, "auto_map"),
    Evil("auto_map below", with_keys(CONFIG, text_config={"auto_map": {"AutoModel": "m.M"}}), CONFIG, "auto_map"),
    Evil("auto_map of a tokenizer", with_keys(TOKENIZER_CONFIG, auto_map=["m.T", None]), TOKENIZER_CONFIG, "auto_map"),
    Evil("auto_map of generation", with_keys(GENERATION, auto_map={"a": "b.c"}), GENERATION, "auto_map"),
    Evil("a Python file", with_text("modeling_evil.py", "raise SystemExit"), "modeling_evil.py", "is code"),
    Evil("a Python file below", _subfolder, "modeling.py", "is code"),
    Evil("a compiled file", with_text("modeling.pyc", ""), "modeling.pyc", "is code"),
    Evil(
        "attention that is downloaded",
        with_keys(CONFIG, _attn_implementation_internal="evil/kernels"),
        CONFIG,
        "_attn_implementation_internal",
    ),
    Evil(
        "experts that are downloaded",
        with_keys(CONFIG, text_config={"_experts_implementation_internal": "evil/kernels"}),
        CONFIG,
        "_experts_implementation_internal",
    ),
    Evil("a private key", with_keys(GENERATION, _private=1), GENERATION, "sets _private"),
    Evil("a private key of an odd name", with_keys(CONFIG, **{"_\n<b>": 1}), CONFIG, "begins with an underscore"),
    Evil("a private key in a list", with_keys(TOKENIZER_CONFIG, a=[[{"__class__": 1}]]), TOKENIZER_CONFIG, "__class__"),
    Evil("a private key of tokens", with_keys("special_tokens_map.json", _x=1), "special_tokens_map.json", "sets _x"),
    Evil("weights of another name", with_keys(CONFIG, transformers_weights="x.safetensors"), CONFIG, "transformers_weights"),
    # JSON
    Evil("the same key twice", with_text(CONFIG, '{"architectures": ["A"], "architectures": ["B"]}'), CONFIG, "same key twice"),
    Evil("a recursive config", with_text(CONFIG, _nested(200)), CONFIG, "more than 32 deep"),
    Evil("a very recursive config", with_text(CONFIG, _nested(200_000)), CONFIG, "more than 32 deep"),
    Evil("a config of 17 MB", with_text(CONFIG, '{"a": "' + "x" * (17 << 20) + '"}'), CONFIG, "larger than 16 MiB"),
    Evil("a config in UTF-16", with_bytes('{"a": 1}'.encode("utf-16"), CONFIG), CONFIG, "is not JSON"),
    Evil("not a number", with_text(GENERATION, '{"temperature": NaN}'), GENERATION, "is not JSON"),
    Evil("a number of 5,000 digits", with_text(GENERATION, '{"top_k": ' + "9" * 5000 + "}"), GENERATION, "is not JSON"),
    # numbers that memory is taken by
    Evil("a huge vocabulary", with_keys(CONFIG, vocab_size=1 << 40), CONFIG, "vocab_size"),
    Evil("a huge width", with_keys(CONFIG, hidden_size=1 << 30), CONFIG, "hidden_size"),
    Evil("a width that the weights lack", with_keys(CONFIG, hidden_size=65_536), CONFIG, "no tensor of the weights"),
    Evil("a vocabulary that the weights lack", with_keys(CONFIG, vocab_size=1_000_000), CONFIG, "no tensor of the weights"),
    Evil("a million layers", with_keys(CONFIG, num_hidden_layers=1_000_000), CONFIG, "num_hidden_layers"),
    Evil("more layers than tensors", with_keys(CONFIG, num_hidden_layers=1000), CONFIG, "than the weights have tensors"),
    Evil("a billion labels", with_keys(CONFIG, num_labels=1_000_000_000), CONFIG, "num_labels"),
    Evil("a billion positions", with_keys(CONFIG, max_position_embeddings=1e9), CONFIG, "max_position_embeddings"),
    Evil("less than no width", with_keys(CONFIG, intermediate_size=-1), CONFIG, "intermediate_size"),
    # weights by their content
    Evil("a pickle", with_bytes(pickle.dumps({"a": 1})), WEIGHTS, "a pickle"),
    Evil("a zip archive", with_bytes(_zip()), WEIGHTS, "a zip archive"),
    Evil("a gzip archive", with_bytes(b"\x1f\x8b\x08" + bytes(100)), WEIGHTS, "a gzip archive"),
    Evil("a numpy array", with_bytes(b"\x93NUMPY\x01\x00" + bytes(100)), WEIGHTS, "a numpy array"),
    Evil("safetensors and a zip archive", _polyglot, WEIGHTS, "two files in one"),
    Evil("an empty file", with_bytes(b""), WEIGHTS, "header does not fit"),
    Evil("a header as long as the sun", with_bytes(struct.pack("<Q", 1 << 60) + b"{}"), WEIGHTS, "header does not fit"),
    Evil("a header that is no JSON", with_bytes(packed(b"{nonsense}")), WEIGHTS, "is not JSON"),
    Evil("a header that is nested", with_bytes(packed(b'{"a":' * 5000 + b"1" + b"}" * 5000)), WEIGHTS, "32 deep"),
    Evil("a tensor twice", with_bytes(packed(b'{"a": {}, "a": {}}')), WEIGHTS, "same key twice"),
    Evil("no tensors", with_bytes(packed({})), WEIGHTS, "no tensors"),
    Evil("weights cut in two", _cut, WEIGHTS, "has been cut"),
    Evil("a shard cut", _cut_shard, "model-00002-of-00002.safetensors", "has been cut"),
    Evil("bytes behind the tensors", _trailing, WEIGHTS, "behind its last tensor"),
    Evil("a wrong shape", with_header(_set(shape=[1, 2, 3])), WEIGHTS, "not as large as its bytes"),
    Evil("a shape that overflows", with_header(_set(shape=[1 << 32, 1 << 32, 1 << 32])), WEIGHTS, "not as large as its bytes"),
    Evil("a negative side", with_header(_set(shape=[-1, -4])), WEIGHTS, "a shape or a place that is none"),
    Evil("a side that is true", with_header(_set(shape=[True])), WEIGHTS, "a shape or a place that is none"),
    Evil("offsets backwards", with_header(_set(data_offsets=[8, 4])), WEIGHTS, "not as large as its bytes"),
    Evil("numbers of no type", with_header(_set(dtype="F8_E4M3")), WEIGHTS, "type that is not read"),
    Evil("a tensor without a place", with_header(lambda header: _widest(header).pop("data_offsets") and None), WEIGHTS, "by type, shape and place"),
    Evil("tensors that overlap", with_header(_overlap), WEIGHTS, "overlap"),
    Evil("bytes of no tensor", with_header(_hole), WEIGHTS, "belong to none"),
    Evil("a shard that is a config", _shard_elsewhere(CONFIG), INDEX, "other files than"),
    Evil("a shard above", _shard_elsewhere("../secret.safetensors"), INDEX, "names files that the folder lacks"),
    Evil("a shard from the root", _shard_elsewhere("/etc/passwd"), INDEX, "names files that the folder lacks"),
    # what is no file
    Evil("a link out of the folder", _link_out, "vocab.txt", "leads out of the checkpoint folder"),
    Evil("a hard link", _hard_link, GENERATION, "a hard link"),
    Evil("a pipe", _pipe, GENERATION, "is no file"),
    Evil("a terabyte of holes", _sparse, WEIGHTS, "a sparse file"),
    Evil("a vocabulary of 65 MB", with_bytes(bytes(65 << 20), "vocab.txt"), "vocab.txt", "larger than 64 MiB"),
)  # fmt: skip


def with_part(**parts: Any) -> Callable[[Path], None]:
    return with_keys(TOKENIZER, **parts)


def with_model(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        document = json.loads((folder / TOKENIZER).read_text())
        document["model"] = change(document["model"]) or document["model"]
        (folder / TOKENIZER).write_text(json.dumps(document))

    return spoil


def replace(pattern: Mapping[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _charsmap(mapped: bytes) -> dict[str, Any]:
    content = struct.pack("<I", 4) + bytes(4) + mapped + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def _template(single: list[Any], tokens: Any) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}


_TEXT = {"Sequence": {"id": "A", "type_id": 0}}
_MARK = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
_DOUBLING = replace({"String": "a"}, "aaaaaaaa")

TOKENIZERS = (
    Evil("a chain of replacements", with_part(normalizer=_sequence(*[_DOUBLING] * 8)), TOKENIZER, "more than 16 characters of one"),
    Evil("a replacement by a book", with_part(normalizer=replace({"String": "a"}, "a" * 100_000)), TOKENIZER, "content is longer than 64"),
    Evil("a replacement of nothing", with_part(normalizer=replace({"String": ""}, "aa")), TOKENIZER, "without a pattern"),
    Evil("a thousand steps", with_part(normalizer=_sequence(*[{"type": "NFC"}] * 1000)), TOKENIZER, "more than 32 steps"),
    Evil("steps in steps", with_part(normalizer=_sequence(*[_sequence(*[{"type": "NFC"}] * 10)] * 10)), TOKENIZER, "more than 32 steps"),
    Evil("an expression that goes back", with_part(pre_tokenizer=_split(r"(a+)+$")), TOKENIZER, "regular expression"),
    Evil("an expression that remembers", with_part(pre_tokenizer=_split(r"(.*)\1\1\1b")), TOKENIZER, "regular expression"),
    Evil("a slow replacement", with_part(normalizer=replace({"Regex": r"(\s|\s)*x"}, "")), TOKENIZER, "regular expression"),
    Evil("a normalizer of no kind", with_part(normalizer={"type": "Python"}), TOKENIZER, "a kind that is not known: Python"),
    Evil("a normalizer of an odd name", with_part(normalizer={"type": "<b>\n"}), TOKENIZER, "not known: an odd word"),
    Evil("a pre-tokenizer of no kind", with_part(pre_tokenizer={"type": "Custom"}), TOKENIZER, "a kind that is not known: Custom"),
    Evil("a decoder of no kind", with_part(decoder={"type": "CTC"}), TOKENIZER, "a kind that is not known: CTC"),
    Evil("a post-processor of no kind", with_part(post_processor={"type": "Exec"}), TOKENIZER, "a kind that is not known: Exec"),
    Evil("a model of no kind", with_model(lambda model: model | {"type": "Neural"}), TOKENIZER, "a kind that is not known: Neural"),
    Evil("a part of no kind", with_part(plugins=["evil.so"]), TOKENIZER, "not known: plugins"),
    Evil("words as long as a billion", with_model(lambda model: model | {"max_input_chars_per_word": 10**9}), TOKENIZER, "max_input_chars_per_word"),
    Evil("a word of no length", with_model(lambda model: model | {"max_input_chars_per_word": 0}), TOKENIZER, "max_input_chars_per_word"),
    Evil("an entry of 20,000 characters", with_model(lambda model: model["vocab"].update({"a" * 20_000: 1})), TOKENIZER, "longer than 1024"),
    Evil("a negative number", with_model(lambda model: model["vocab"].update({"a": -1})), TOKENIZER, "number is not between"),
    Evil("an enormous number", with_model(lambda model: model["vocab"].update({"a": 1 << 31})), TOKENIZER, "number is not between"),
    Evil("a prefix of 1,000 characters", with_model(lambda model: model | {"continuing_subword_prefix": "#" * 1000}), TOKENIZER, "continuing_subword_prefix"),
    Evil("chance", with_model(lambda model: {"type": "BPE", "vocab": model["vocab"], "merges": [], "dropout": 0.5}), TOKENIZER, "dropout"),
    Evil("a merge of three", with_model(lambda model: {"type": "BPE", "vocab": model["vocab"], "merges": ["a b c"]}), TOKENIZER, "a merge that is not two"),
    Evil("pieces of 1,000 characters", with_model(lambda _: {"type": "Unigram", "vocab": [["a" * 1000, 0.0]], "unk_id": 0}), TOKENIZER, "longer than 256"),
    Evil("a score that is none", with_model(lambda _: {"type": "Unigram", "vocab": [["a", None]], "unk_id": 0}), TOKENIZER, "a score that is no number"),
    Evil("nothing is unknown", with_model(lambda _: {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}), TOKENIZER, "unk_id"),
    Evil("a character becomes a book", with_part(normalizer=_charsmap(b"a" * 100_000)), TOKENIZER, "maps a character to more than 256 bytes"),
    Evil("a map that has been cut", with_part(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAQA=="}), TOKENIZER, "has been cut"),
    Evil("the text a hundred times", with_part(post_processor=_template([_TEXT] * 60, {})), TOKENIZER, "repeats the text"),
    Evil("a template of 1,000 pieces", with_part(post_processor=_template([_MARK] * 1000, {})), TOKENIZER, "more than 64 pieces"),
    Evil("a token of 10,000 tokens", with_part(post_processor=_template([_TEXT, _MARK], {"[SEP]": {"id": "[SEP]", "ids": [3] * 10_000, "tokens": ["[SEP]"] * 10_000}})), TOKENIZER, "more than 64 tokens in one place"),
    Evil("a decoder that cuts", with_part(decoder={"type": "Strip", "content": " ", "start": 1 << 40, "stop": 0}), TOKENIZER, "Strip of more than 64"),
    Evil("an added token of nothing", with_part(added_tokens=[{"id": 0, "content": ""}]), TOKENIZER, "empty or longer"),
    Evil("an added token of 20,000 characters", with_part(added_tokens=[{"id": 0, "content": "a" * 20_000}]), TOKENIZER, "empty or longer"),
    Evil("a tokenizer that is a list", with_text(TOKENIZER, "[]"), TOKENIZER, "is not a tokenizer"),
    Evil("a tokenizer of nothing", with_text(TOKENIZER, "{}"), TOKENIZER, "is not a tokenizer"),
    Evil("a nested tokenizer", with_text(TOKENIZER, '{"model": ' * 5000 + "1" + "}" * 5000), TOKENIZER, "more than 32 deep"),
    Evil("the same word twice", with_text(TOKENIZER, '{"model": {"type": "WordLevel", "vocab": {"a": 1, "a": 2}}}'), TOKENIZER, "same key twice"),
    Evil("words that are lists", with_text("vocab.json", '{"a": [1]}'), "vocab.json", "number is not between"),
)  # fmt: skip


def _not_a_number(value: bytes, count: int = 1) -> Callable[[Path], None]:
    """float16 values of the widest tensor changed where they lie."""

    def spoil(folder: Path) -> None:
        content = bytearray((folder / WEIGHTS).read_bytes())
        length = struct.unpack("<Q", content[:8])[0]
        begin = 8 + length + _widest(json.loads(content[8 : 8 + length]))["data_offsets"][0]
        content[begin : begin + 2 * count] = value * count
        (folder / WEIGHTS).write_bytes(content)

    return spoil


def _lacking(folder: Path) -> None:
    with_header(
        lambda header: {
            ("x" + name if "classifier.weight" in name else name): entry for name, entry in header.items()
        }
    )(folder)


LOADED = (
    Evil("NaN in the weights", _not_a_number(b"\x00\x7e"), "embeddings", "NaN or infinite"),
    Evil("infinite weights", _not_a_number(b"\x00\x7c", 100), "embeddings", "NaN or infinite"),
    Evil("a tensor of another name", _lacking, "weights", "lack 1 of the tensors"),
    Evil("weights of another architecture", with_keys(CONFIG, architectures=["RobertaForSequenceClassification"]), CONFIG.removesuffix(".json"), "model type is not that"),
)  # fmt: skip


def bit_flips(seed: int) -> Callable[[Path], None]:
    """Eight bits anywhere in the header of the weights, in the config and in the tokenizer."""

    def spoil(folder: Path) -> None:
        drawn = random.Random(seed)
        for _ in range(8):
            path = folder / drawn.choice((CONFIG, TOKENIZER, WEIGHTS))
            content = bytearray(path.read_bytes())
            place = drawn.randrange(min(len(content), 5000 if path.name == WEIGHTS else len(content)))
            content[place] ^= 1 << drawn.randrange(8)
            path.write_bytes(content)

    return spoil
