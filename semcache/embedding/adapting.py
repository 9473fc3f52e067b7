"""Choose the adapter of an embedding model by the settings: the packaged one for its weights, none, or a named file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import structlog

import semcache
from semcache.embedding.adapter import SUFFIX, Adapter, read_adapter
from semcache.embedding.models import ModelFiles
from semcache.errors import StartError

_log = structlog.get_logger(__name__)

PACKAGED = Path(semcache.__file__).parent / "data" / "adapters"
"""The folder of the adapters that ship with semcache; it may be empty or absent."""
AUTO, NONE = "auto", "none"


@dataclass(frozen=True, slots=True)
class AdaptedModel:
    """A model with the adapter that was chosen for it.

    Attributes:
        files: the model, with the adapter if there is one.
        problem: why a packaged adapter can't be used; empty where nothing is wrong.
    """

    files: ModelFiles
    problem: str = ""


def with_adapter(setting: str, files: ModelFiles, packaged: Path = PACKAGED) -> AdaptedModel:
    """Return a model with the adapter that `embedding.adapter` names.

    A packaged adapter that can't be used doesn't stop a server: it is left out, logged and told in `problem`.

    Args:
        setting: "auto", "none", or the path of a file.
        files: the model, without an adapter.
        packaged: the folder of the adapters that "auto" chooses from.

    Raises:
        StartError: the file that is named can't be used for this model.
    """
    if setting == NONE:
        return AdaptedModel(files)
    if setting != AUTO:
        return AdaptedModel(replace(files, adapter=_fitting(Path(setting).expanduser(), files)))
    problem = ""
    for path in sorted(packaged.glob(f"*{SUFFIX}")):
        try:
            adapter = read_adapter(path)
            if adapter.base_sha256 != files.weights_sha256:
                continue
            adapter.check_fits(files.weights_sha256, files.weight_shapes())
        except StartError as error:
            problem = error.message
            continue
        return AdaptedModel(replace(files, adapter=adapter))
    return without_adapter(files, problem) if problem else AdaptedModel(files)


def without_adapter(files: ModelFiles, problem: str) -> AdaptedModel:
    """Return a model without its packaged adapter, which can't be used, and log why.

    Args:
        files: the model, with or without the adapter.
        problem: what is wrong, as a sentence.
    """
    _log.error("embedding.adapter_unusable", error=problem, effect="the model runs without an adapter")
    return AdaptedModel(replace(files, adapter=None), problem)


def _fitting(path: Path, files: ModelFiles) -> Adapter:
    """Return the adapter of a file, checked against the model.

    Raises:
        StartError: it can't be read, or doesn't fit the model.
    """
    adapter = read_adapter(path)
    adapter.check_fits(files.weights_sha256, files.weight_shapes())
    return adapter
