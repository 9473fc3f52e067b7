"""Keep the state of a training in a file, so that one that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from semcache.errors import StartError
from semcache.whole_files import write_whole

SUFFIX = ".partial"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What a training needs to go on.

    Attributes:
        run: the number of the seed that is being trained, from 0.
        step: the steps that it has made.
        tensors: its parameters, the optimiser's two moments of each, and the corrections of the seeds before it.
    """

    run: int
    step: int
    tensors: Mapping[str, torch.Tensor]


class Checkpoint:
    """The file of one training's state.

    Args:
        path: the file; it is there while the training isn't finished.
        key: names the data and the settings. A state of other data or settings is of no use.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def save(self, state: TrainingState) -> None:
        """Replace the file, whole or not at all.

        Raises:
            OSError: it can't be written.
        """
        metadata = {"key": self._key, "run": str(state.run), "step": str(state.step)}
        write_whole(self._path, safetensors.torch.save(dict(state.tensors), metadata))

    def load(self) -> TrainingState | None:
        """Return the state; None where there is no file.

        Raises:
            StartError: the file is damaged, or of a training with other data or settings.
        """
        if not self._path.is_file():
            return None
        try:
            with safetensors.safe_open(self._path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (safetensors.SafetensorError, OSError) as error:
            raise StartError(f"The state of a training in {self._path} can't be read.", hint=self._hint) from error
        if metadata.get("key") != self._key:
            raise StartError(f"{self._path} is the state of a training with other data or settings.", hint=self._hint)
        return TrainingState(int(metadata["run"]), int(metadata["step"]), tensors)

    def remove(self) -> None:
        """Remove the file, when the training is finished."""
        self._path.unlink(missing_ok=True)

    @property
    def _hint(self) -> str:
        return "Remove it to begin anew, or name another file by --out."
