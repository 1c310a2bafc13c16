"""The gate of the CUDA target: where it can run, and what is told where it cannot. The export process.

A graph with PagedAttention can be written anywhere, and run on a CUDA device only. So a registration needs one, or has to ask that
the version be published unproved.
"""

from __future__ import annotations

from trine.artifact import Artifact, Precision, Target
from trine.engine.runtime.device import Device
from trine.errors import NotPossible
from trine.export import gate, verify
from trine.export.checkpoint import Checkpoint
from trine.export.gate import Report
from trine.export.plan import ExportPlan, Gate

_LIMITS = {Precision.FP16: gate.FP16, Precision.BF16: gate.BF16}


def wanted(precision: Precision | None) -> bool:
    return precision is not None and precision.target is Target.CUDA


def device_of(plan: ExportPlan) -> Device | None:
    """Where the gate of `plan` runs; None: there is no CUDA device, and the plan publishes whatever the gate says.

    Raises NotPossible where it does not.
    """
    device = Device(Target.CUDA, plan.device_id)
    try:
        device.require()
    except NotPossible as error:
        if plan.gate is Gate.REPORT:
            return None
        raise NotPossible(
            f"an export for CUDA is proved on a CUDA device: {error.message}; with the gate report it is published unproved"
        ) from error
    return device


def prove(
    checkpoint: Checkpoint, artifact: Artifact, device: Device | None, *, threads: int, told: verify.Told
) -> Report:
    """Half precision on the device against the checkpoint in float32; without a device the report that says so."""
    precision = artifact.manifest.precision
    limits = _LIMITS[precision]
    if device is None:
        return Report(limits, unproved="no CUDA device")
    report = verify.prove(checkpoint, artifact, threads=threads, told=told, limits=limits, device=device)
    report.claim = f"{precision} on CUDA proved close to the checkpoint in float32"
    return report
