"""What the administration calls send. Pure functions, any thread.

Tasks, families, states, precisions and gates are the lower-case words of client.checkpoints; the empty word leaves the choice to the
server. What this client does not know is refused here, with InvalidInput.
"""

from __future__ import annotations

import os
from typing import Any, TypedDict

from trine.client.checkpoints import word
from trine.client.options import require_known
from trine.errors import InvalidInput
from trine.v1 import checkpoint_pb2 as pb

HUB = "hub:"
"""How a source begins that is a repository of the hub: "hub:owner/name". Whatever begins otherwise is a folder."""


class RegisterOptions(TypedDict, total=False):
    """Keywords of register; what is left out, the server decides."""

    revision: str
    """Of a hub's repository: a branch, a tag or a commit. Default: main."""
    task: str
    """Default: what the architecture is for."""
    precision: str
    """fp32, int8 or auto (int8 where the gate passes, else fp32); on CUDA fp16, bf16 or auto (fp16)."""
    gate: str
    """enforce, or report: published whatever the gate says, and it says so."""
    hold: bool
    """Keep the name on the version that it means now."""
    base_checkpoint: str
    """What it was fine-tuned from, where the checkpoint does not say so itself."""
    training_data: str
    license: str


def register(
    name: str, source: str | os.PathLike[str], options: RegisterOptions
) -> pb.RegisterCheckpointRequest:
    """The precision "auto" is the server's choice, as the empty word is. Raises TypeError for an option that does not exist."""
    require_known(options, RegisterOptions)
    precision = options.get("precision", "")
    request = pb.RegisterCheckpointRequest(
        name=name,
        task=_value(pb.Task, "task", options.get("task", "")),
        precision=_value(pb.Precision, "precision", "" if precision == "auto" else precision),
        gate=_value(pb.Gate, "gate", options.get("gate", "")),
        hold=options.get("hold", False),
        base_checkpoint=options.get("base_checkpoint", ""),
        training_data=options.get("training_data", ""),
        license=options.get("license", ""),
    )
    _set_source(request, os.fspath(source), options.get("revision", ""))
    return request


def _set_source(request: pb.RegisterCheckpointRequest, source: str, revision: str) -> None:
    if source.startswith(HUB):
        request.hub.repo_id = source.removeprefix(HUB)
        request.hub.revision = revision
    elif revision:
        raise InvalidInput("a folder has no revision; a repository of the hub is hub:owner/name", field="hub")
    else:
        request.path = source


class ListOptions(TypedDict, total=False):
    """Keywords of list; what is left out is any."""

    task: str
    family: str
    """encoder, decoder or encoder-decoder."""
    state: str
    """ready, failed, exporting or verifying."""
    base_checkpoint: str
    """What the versions were fine-tuned from."""


def list_page(page_token: str, options: ListOptions) -> pb.ListCheckpointsRequest:
    """Raises TypeError for an option that does not exist."""
    require_known(options, ListOptions)
    return pb.ListCheckpointsRequest(
        page_token=page_token,
        task=_value(pb.Task, "task", options.get("task", "")),
        family=_value(pb.Family, "family", options.get("family", "")),
        state=_value(pb.VersionState, "state", options.get("state", ""), "version_state"),
        base_checkpoint=options.get("base_checkpoint", ""),
    )


# The generated enum wrappers share no public base class, hence Any.
def _value(enum: Any, field: str, asked: str, prefix: str = "") -> Any:
    """ "classification" -> TASK_CLASSIFICATION."""
    prefix = (prefix or field).upper()
    name = f"{prefix}_{asked or 'unspecified'}".upper().replace("-", "_")
    numbers = dict(enum.items())
    if name not in numbers:
        known = ", ".join(word(enum, prefix, value) for value in numbers.values() if value)
        raise InvalidInput(f"{field} must be one of {known}", field=field)
    return numbers[name]
