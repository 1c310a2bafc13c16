"""`make demo`: a server of its own on free ports, four checkpoints registered, every kind of call made, the metrics shown.

A fifth version is made of the first checkpoint's encoder, for embeddings. The versions stay in the repository folder (TRINE_REPOSITORY, else var/repository), so a second run finds them and is quick.
Exits 0 when everything was answered; otherwise it says what failed and shows the end of the server's log.
"""

from __future__ import annotations

import json
import operator
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from local_server import ROOT, Failed, Server, repository, server
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from trine.client import Client
from trine.errors import TrineError

CHECKPOINTS = {"sentiment": "sentiment-en", "ner": "ner-en", "verse": "verse", "en-fr": "en-fr"}
REVIEWS = [
    "This film is a delight from start to finish.",
    "Two hours of my life that I will never get back.",
    "The acting is fine, but the story goes nowhere.",
]
OPINIONS = [
    "A wonderful, funny and moving picture.",
    "A lovely film, one of the best of the year.",
    "Two hours of my life that I will never get back.",
]
POSTS = [
    "Just landed in Chicago with Sarah, on our way to see Barack Obama speak.",
    "Microsoft opens an office in Berlin, says the BBC.",
]
SENTENCES = [
    "I am looking for a good restaurant.",
    "She has lived here for ten years.",
    "It is raining again.",
]
PROMPTS = ["JULIET:\n", "KING RICHARD III:\n"]
SHOWN_METRICS = {
    "trine_requests",
    "trine_time_to_first_token_seconds",
    "trine_batch_size",
    "trine_parity_drift",
}

console = Console(
    highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120
)
_Result = TypeVar("_Result")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    var = ROOT / "var"
    var.mkdir(exist_ok=True)  # of the checkout, since a server registers nothing from outside its import root
    with tempfile.TemporaryDirectory(prefix="demo-", dir=var) as folder:
        log = Path(folder) / "server.log"
        try:
            run(Path(folder), log)
        except KeyboardInterrupt:
            console.print("\nstopped", style="yellow")
            return 130
        except (Failed, TrineError, OSError) as error:
            console.print(f"\nThe demo failed: {error}", style="bold red")
            show_log(log)
            return 1
    console.print("\nDone.", style="bold green")
    return 0


def run(folder: Path, log: Path) -> None:
    """The whole demo."""
    check_checkpoints()
    heading("Server")
    with server(folder, log) as running, Client(running.grpc, running.admin) as client:
        console.print(f"gRPC {running.grpc} · administration {running.admin} · HTTP {running.http}")
        console.print(f"repository {repository()}")
        register_all(client, folder)
        classify(client)
        find_entities(client)
        embed(client)
        generate(client)
        translate(client)
        show_metrics(running)


def check_checkpoints() -> None:
    for name in CHECKPOINTS.values():
        if not (ROOT / "examples" / "checkpoints" / name / "config.json").is_file():
            raise Failed(f"examples/checkpoints/{name} is missing from this checkout")


def show_log(log: Path) -> None:
    if log.is_file():
        console.print("The end of the server's log:", style="bold")
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            console.print(f"  {line}", style="dim")


def heading(text: str) -> None:
    console.print(f"\n{text}", style="bold cyan")


def write(text: str) -> None:
    """A piece of a line, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def timed(call: Callable[[], _Result]) -> tuple[_Result, str]:
    """What a call returns, and how long it took."""
    began = time.perf_counter()
    result = call()
    return result, f"{1000 * (time.perf_counter() - began):.1f} ms"


def register_all(client: Client, folder: Path) -> None:
    heading("Register: export to ONNX, prove the export, publish, load")
    checkpoints = {name: ROOT / "examples" / "checkpoints" / place for name, place in CHECKPOINTS.items()}
    checkpoints["sentiment-encoder"] = encoder_of(checkpoints["sentiment"], folder / "sentiment-encoder")
    for name, checkpoint in checkpoints.items():
        began = time.perf_counter()
        version, existing = register(client, name, checkpoint)
        how = "registered before" if existing else "exported and proved"
        console.print(f"{version}  {how}  {time.perf_counter() - began:.1f} s")


def encoder_of(checkpoint: Path, folder: Path) -> Path:
    """A classifier without its head: the same files and a config that names the bare BERT, which makes embeddings."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    return folder


def register(client: Client, name: str, folder: Path) -> tuple[str, bool]:
    """The version's reference, and whether it existed. Stages are shown as they pass."""
    stage, last = "", None
    with client.register(name, folder) as steps:
        for last in steps:
            if last.stage != stage and last.version is None:
                stage = last.stage
                console.print(f"  {stage:9} {last.message}", style="dim")
    if last is None or last.version is None:
        raise Failed(f"the registration of {name} ended without a version")
    if last.version.state != "ready":
        raise Failed(f"{last.version.reference} is {last.version.state}: {last.version.reason}")
    return last.version.reference, last.existing


def classify(client: Client) -> None:
    results, took = timed(lambda: client.classify("sentiment", REVIEWS))
    heading(f"Classify, a batch of {len(REVIEWS)}: {took}")
    for text, result in zip(REVIEWS, results, strict=True):
        console.print(f"  {result.labels[0].name:9} {result.labels[0].score:.3f}  {text}")


def find_entities(client: Client) -> None:
    results, took = timed(lambda: client.classify_tokens("ner", POSTS, aggregation="first"))
    heading(f"ClassifyTokens, a batch of {len(POSTS)}: {took}")
    for text, result in zip(POSTS, results, strict=True):
        console.print(f"  {text}")
        for entity in result.entities:
            place = f"{entity.begin}-{entity.end}"
            console.print(f"    {place:>6}  {entity.label}  {entity.score:.3f}  {entity.text}")


def embed(client: Client) -> None:
    results, took = timed(lambda: client.embed("sentiment-encoder", OPINIONS, normalize=True))
    heading(f"Embed, a batch of {len(OPINIONS)}: {took}")
    first, *others = (result.values for result in results)
    console.print(f"  cosine similarity to: {OPINIONS[0]}")
    for text, values in zip(OPINIONS[1:], others, strict=True):
        console.print(f"  {sum(map(operator.mul, first, values)):6.3f}  {text}")


def generate(client: Client) -> None:
    results, took = timed(
        lambda: client.generate("verse", PROMPTS, max_new_tokens=40, temperature=0.7, top_k=40, seed=1)
    )
    tokens = sum(result.usage.output_tokens for result in results)
    heading(f"Generate, a batch of {len(PROMPTS)}, {tokens} tokens: {took}")
    for prompt, result in zip(PROMPTS, results, strict=True):
        console.print(indented(prompt + result.text))
    heading("StreamGenerate, temperature 0.8, seed 7")
    write("  ROMEO:")
    began = time.perf_counter()
    first, tokens = 0.0, 0
    with client.stream_generate("verse", "ROMEO:", max_new_tokens=80, temperature=0.8, seed=7) as deltas:
        for delta in deltas:
            first = first or time.perf_counter() - began
            tokens = delta.usage.output_tokens if delta.usage else tokens
            write(delta.text.replace("\n", "\n  "))
    total = time.perf_counter() - began
    console.print(
        f"\n  first text {1000 * first:.1f} ms, {tokens} tokens in {1000 * total:.1f} ms", style="dim"
    )


def translate(client: Client) -> None:
    results, took = timed(lambda: client.translate("en-fr", SENTENCES))
    heading(f"Translate, a batch of {len(SENTENCES)}: {took}")
    for text, result in zip(SENTENCES, results, strict=True):
        console.print(f"  {text}\n    {result.text}")
    best, took = timed(lambda: client.translate("en-fr", SENTENCES[0], beams=4, n_best=3))
    heading(f"Translate, the 3 best of 4 beams: {took}")
    for hypothesis in best.segments[0].hypotheses:
        console.print(f"  {hypothesis.score:.3f}  {hypothesis.text}")
    heading("StreamTranslate")
    write(f"  {SENTENCES[0]}\n    ")
    with client.stream_translate("en-fr", SENTENCES[0]) as deltas:
        for delta in deltas:
            write(delta.text)
    write("\n")


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def show_metrics(running: Server) -> None:
    """The main figures: requests, time to first token, batch size, and how far the logits are from the checkpoint's."""
    heading("Metrics")
    table = Table("metric", "version", "", "value", box=None, pad_edge=False, header_style="bold")
    for family in text_string_to_metric_families(running.page("/metrics")):
        if family.name in SHOWN_METRICS:
            for row in histogram_rows(family) if family.type == "histogram" else sample_rows(family):
                table.add_row(*row)
    console.print(table, soft_wrap=False)
    console.print(f"All of them: {running.http}/metrics while this server ran; port 8002 of `make serve`.")


def sample_rows(family: Metric) -> Iterator[tuple[str, str, str, str]]:
    """Of the parity gate's checks only the logits'; `trine show` has all."""
    for sample in family.samples:
        rest = {name: value for name, value in sample.labels.items() if name not in {"checkpoint", "version"}}
        if rest.get("check", "logits") == "logits":
            yield sample.name, version_of(sample.labels), " ".join(rest.values()), f"{sample.value:.3g}"


def histogram_rows(family: Metric) -> Iterator[tuple[str, str, str, str]]:
    """Count and mean; the page itself has the buckets."""
    sums = {
        version_of(sample.labels): sample.value for sample in family.samples if sample.name.endswith("_sum")
    }
    for sample in family.samples:
        if sample.name.endswith("_count") and sample.value:
            version = version_of(sample.labels)
            mean = f"mean {sums[version] / sample.value:.3g}"
            yield family.name, version, f"{sample.value:.0f} observed", mean


def version_of(labels: dict[str, str]) -> str:
    return f"{labels['checkpoint']}:{labels['version']}"


if __name__ == "__main__":
    sys.exit(main())
