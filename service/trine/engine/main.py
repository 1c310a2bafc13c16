"""The engine process: load one artifact, prove it, serve it over the inherited socket until the front ends it.

    python -m trine.engine.main --fd 3 --artifact DIR --threads 2 --cache-bytes 268435456 --max-slots 64 --batch-tokens 2048

One thread (the graphs' and the tokenizer's own pools aside): main loads, then `loop` runs. The first message to the front is
Ready, or LoadFailed and exit status 1. SIGINT and SIGTERM are ignored, since the front decides when its engines end: by Stop,
by closing the socket, or by SIGKILL.
"""

from __future__ import annotations

import os

# numpy's matrix product is never used, and its pool would start with the import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine import frames
from trine.artifact import Artifact, Family, Task, open_artifact
from trine.engine.loop import Loop
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.kv import slots_for
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.selftest import drift
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.continuous import DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.tasks.classification import Classification
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.translation import Translation
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import ArtifactCorrupt, Bug, TrineError
