"""The export process seen from the server: every way in which it can end. The children here are small stand-ins."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import pytest

from tests.unit.registry.rules.safetensors_file import safetensors
from trine.errors import Bug, ExportFailed, NotACheckpoint, NotPossible, UnsafeCheckpoint
from trine.export import launcher
from trine.export.launcher import Progress, Verdict
from trine.export.plan import ExportPlan

PRELUDE = """
import json, os, subprocess, sys, time
plan = json.loads(sys.stdin.readline())
def say(**fields): print(json.dumps(fields), flush=True)
def family():
    "A grandchild that would live for ever; both ids go to the file that the plan's staging names."
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
    with open(plan["staging"], "w") as file: file.write(f"{os.getpid()} {other.pid}")
"""


@pytest.fixture
def plan(tmp_path: Path) -> ExportPlan:
    return ExportPlan(checkpoint=tmp_path, staging=tmp_path / "ids", timeout=60.0, threads=1)


def child(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(launcher, "CHILD", ("-I", "-c", PRELUDE + program))


async def collect(plan: ExportPlan) -> list[Progress]:
    async with contextlib.aclosing(launcher.run(plan)) as steps:
        return [step async for step in steps]


def gone(plan: ExportPlan) -> bool:
    """Whether child and grandchild have ended; the latter may still be a zombie that nobody reaps in a container."""
    return all(_ended(int(pid)) for pid in plan.staging.read_text().split())


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except FileNotFoundError:
        return True


async def until(condition: object) -> None:
    """Poll, since the kernel delivers a kill to a grandchild in its own time; pytest's timeout is the limit."""
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.01)


async def test_progress_and_verdict_come_through(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    child(
        monkeypatch,
        'say(stage="read", fraction=0.5, message=plan["checkpoint"])\n'
        'say(verdict={"passed": False, "reason": "logits 3 (at most 1)"})\n',
    )
    steps = await collect(plan)
    assert steps[0] == Progress("read", 0.5, str(plan.checkpoint))
    assert steps[1].verdict == Verdict(False, "logits 3 (at most 1)")
    assert len(steps) == 2


async def test_a_refusal_crosses_as_its_class(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, 'say(refused="UNSAFE_CHECKPOINT", message="pickle", field="path")')
    with pytest.raises(UnsafeCheckpoint) as refusal:
        await collect(plan)
    assert (refusal.value.message, refusal.value.field) == ("pickle", "path")
    child(monkeypatch, 'say(refused="NO_SUCH_REASON", message="?")')
    with pytest.raises(Bug):
        await collect(plan)


@pytest.mark.parametrize(
    "program",
    [
        "",
        "sys.exit(3)",
        "raise RuntimeError('secret words')",
        "os.kill(os.getpid(), 9)",
        'say(stage="read", fraction=0.0, message="x"); os.kill(os.getpid(), 9)',
        'sys.stdout.write(\'{"stage": "read", "fra\'); sys.stdout.flush(); os.kill(os.getpid(), 9)',
        'sys.stdout.write(\'{"verdict": {"passed": true, "reason": ""}}\')',
        "print('no json', flush=True)",
        "print('[1, 2]', flush=True)",
        "say(stage='read')",
        "say(verdict=True)",
        "print('x' * 1_000_000, flush=True)",
        "while True: print('x' * 1_000_000, flush=True)",
        "subprocess.Popen(['sleep', '30'], start_new_session=True); print('nonsense', flush=True)",
    ],
)
async def test_a_broken_child_is_a_failed_export(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    child(monkeypatch, program)
    with pytest.raises(ExportFailed) as failure:
        await collect(plan)
    assert "secret" not in failure.value.message


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGXCPU, "processor time"), (signal.SIGKILL, "was killed"), (signal.SIGABRT, "more memory")],
)
async def test_a_dead_child_is_told_by_its_signal_and_by_what_it_was_at(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, cause: str
) -> None:
    program = 'say(stage="read", fraction=0.1, message="trying tokenizer.json"); os.kill(os.getpid(), '
    child(monkeypatch, f"{program}{int(number)})")
    with pytest.raises(ExportFailed, match=rf"its stage read \(trying tokenizer\.json\): .*{cause}"):
        await collect(plan)


async def test_what_a_dead_child_wrote_is_logged(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    child(monkeypatch, "sys.exit('the last words')")
    with pytest.raises(ExportFailed):
        await collect(plan)
    assert "the last words" in caplog.text


async def test_a_timeout_kills_the_whole_group(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, 'family(); say(stage="read", fraction=0.0, message="x"); time.sleep(600)')
    steps = launcher.run(plan)
    assert (await anext(steps)).stage == "read"
    await steps.aclose()
    await until(lambda: gone(plan))
    plan.staging.unlink()
    short = ExportPlan(plan.checkpoint, plan.staging, timeout=1.0, threads=1)
    child(monkeypatch, "family(); time.sleep(600)")
    with pytest.raises(ExportFailed, match="longer than 1 s"):
        await collect(short)
    await until(lambda: gone(plan))


async def test_a_timeout_counts_the_whole_export(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that goes on talking does not put it off."""
    child(monkeypatch, 'while True: say(stage="verify", fraction=0.5, message=""); time.sleep(0.01)')
    with pytest.raises(ExportFailed, match="longer than"):
        await collect(ExportPlan(plan.checkpoint, plan.staging, timeout=1.0, threads=1))


async def test_a_cancelled_export_kills_the_whole_group(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(monkeypatch, "family(); time.sleep(600)")
    task = asyncio.create_task(collect(plan))
    await until(lambda: plan.staging.exists() and plan.staging.read_text())
    assert not gone(plan)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: gone(plan))


async def test_the_environment_is_clean(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    child(monkeypatch, 'say(stage="read", fraction=0.0, message=json.dumps(dict(os.environ)))\nfamily()')
    async with contextlib.aclosing(launcher.run(plan)) as steps:
        environment = (await anext(steps)).message
    assert "secret" not in environment
    assert "PYTHONPATH" not in environment
    assert '"HF_HUB_OFFLINE": "1"' in environment
    assert '"OMP_NUM_THREADS": "1"' in environment


async def test_its_working_folder_is_gone_afterwards(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(
        monkeypatch,
        'open("litter", "w").close(); say(verdict={"passed": True, "reason": os.getcwd()})',
    )
    steps = await collect(plan)
    assert "trine-export-" in steps[-1].message
    assert not left(steps[-1].message)


def left(folder: str) -> bool:
    return Path(folder).exists()


async def test_without_the_extra_it_says_what_to_install(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_REQUIRED", ("sys", "trine_lacks_this"))
    with pytest.raises(NotPossible, match=r"pip install 'trine\[export\]'"):
        await collect(plan)


async def test_the_child_dies_with_the_server(gpt2_folder: Path, plan: ExportPlan) -> None:
    """The real child: end of its input means that the server is gone, also while it imports."""
    plan = ExportPlan(gpt2_folder, plan.staging, threads=1)
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, *launcher.CHILD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert server.stdin is not None
    server.stdin.write(plan.to_json().encode() + b"\n")
    server.stdin.write_eof()
    assert await server.wait() == -signal.SIGKILL


@pytest.fixture
def gpt2_folder(tmp_path: Path) -> Path:
    """Enough of a checkpoint for the child to begin."""
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    (tmp_path / "model.safetensors").write_bytes(safetensors({"a": [1]}))
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("limit", [1 << 20, 200 << 20])
async def test_the_real_child_keeps_to_its_memory(gpt2_folder: Path, limit: int) -> None:
    with pytest.raises(ExportFailed):
        await collect(ExportPlan(gpt2_folder, gpt2_folder / "staging", memory_bytes=limit, threads=1))


async def test_the_real_child_refuses_files_that_changed(gpt2_folder: Path) -> None:
    changed = ExportPlan(gpt2_folder, gpt2_folder / "staging", digest="of other files", threads=1)
    with pytest.raises(NotACheckpoint, match="changed"):
        await collect(changed)
