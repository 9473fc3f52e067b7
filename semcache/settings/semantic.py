"""Settings of the comparison by meaning: embedding, index, decision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
)

from semcache.settings.section import DEFAULT_MODEL, Cosine, Count, Section


class EmbeddingSettings(Section):
    """The embedding model and its device."""

    model: str = DEFAULT_MODEL
    """A local path, or a name that an installed package or the hub has."""
    adapter: str = "auto"
    """A LoRA adapter, which changes the model's weights when they are loaded. auto: the one that ships with semcache
    for these weights, if there is one. none: the weights as they are. Else the path of an adapter's file
    (docs/quality.md). Another adapter is another vector space: what is stored is embedded anew."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """auto: torch on a GPU, else OpenVINO where it is installed, else torch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """auto: the faster of bf16 and fp32, whose cosines differ by less than 1e-4. It is int8 where a trial at the start
    finds it 1.3 × as fast as both, and within a cosine of .998 on check sentences. int8 needs OpenVINO and a CPU with
    VNNI. It isn't tried where AMX makes bf16 faster, or for a model of more than 512 MiB. It is about 1.8 × as fast as
    fp32, and changes cosines above .9 by .001 to .002 (rms), by .008 at most (benchmarks/README.md). Set fp32 for
    cosines that are the same on every machine."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of all forward passes on a CPU together; 0: as many as cores."""
    max_batch: Count = 32
    """Texts in one forward pass on a CPU. Beyond 32 a CPU gains nothing, and every caller waits longer."""
    max_batch_gpu: Count = 256
    """Texts in one forward pass on a GPU."""
    max_queue: Count = 2048
    """Texts that may wait; beyond them a request is refused with OVERLOADED."""
    given_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the embeddings that callers send with a Store that is made again here and compared. A wrong one is
    refused, and from then on each of that tenant's is checked."""
    cache_dir: Path | None = None
    """Where a converted model is kept between starts; None: the user's cache folder."""


class IndexSettings(Section):
    """The search for nearest neighbours within a partition."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where FAISS or torch sees one."""
    gpu_library: Literal["auto", "faiss", "torch"] = "auto"
    """What searches on a GPU, exactly in either case. auto: FAISS where faiss-gpu sees the GPU, else CUDA torch."""
    numpy_below: Count = 256
    """Vectors in a partition below which a plain matrix product is fastest."""
    flat_below: Count = 20_000
    """Vectors in a partition up to which a CPU searches it exactly (flat); a larger one gets an IVF index. A flat
    search of 10,000 vectors takes 0.6 ms, in batches 0.04 ms (benchmarks/README.md)."""
    flat_products: Literal["auto", "float32"] = "auto"
    """How flat search of 4,096 vectors or more multiplies on a CPU. auto: in bfloat16 where a trial at the start finds
    that 1.3 × as fast, as with AMX. Vectors that can be among the nearest are then multiplied again in float32, so that
    the answers are the same. A batch of many queries then searches a partition beyond `flat_below` flat as well."""
    gpu_from: Count = 20_000
    """Vectors in a partition from which a GPU searches it; below, the way to the GPU costs more than the search."""
    nprobe: Count = 32
    """Lists of an IVF index that are searched for each query."""
    overfetch: Count = 20
    """Candidates that an IVF index proposes for each wanted neighbour; they are rescored exactly."""
    max_partitions: Count = 100_000
    """Partitions in memory; the least recently searched one is dropped first. Each takes 1.6 kB beside its vectors."""
    max_vectors: Count = 5_000_000
    """Vectors in memory over all partitions, 1.5 kB each at 384 dimensions, beside what each partition takes."""
    threads: Count = 1
    """Threads of one search."""
    max_queue: Count = 4096
    """Searches that may wait; beyond them a request is refused with OVERLOADED."""


class NamespaceThreshold(Section):
    """A threshold for one namespace, one task type, or both together."""

    namespace: str = ""
    task_type: str = ""
    threshold: Cosine


class DecisionSettings(Section):
    """Which candidates are served."""

    policy: str = "threshold"
    """The name of the policy that judges candidates. `threshold` serves those whose score reaches `threshold`."""
    threshold: Cosine = 0.86
    """The score that a candidate must reach, in units of the cosine. The guards keep texts that are nearly the same
    below it; what it decides is how freely a request may be worded anew (docs/quality.md)."""
    overrides: tuple[NamespaceThreshold, ...] = ()
    """Other thresholds for a namespace, a task type or both. The most specific one wins: first namespace and task type,
    then namespace, then task type."""
    k: Annotated[int, Field(ge=1, le=100)] = 5
    """How many of the nearest entries are candidates. A right one may come after a vetoed one."""
    guards: tuple[str, ...] = (
        *("numbers", "dates", "units", "identifiers", "polarity", "direction"),
        *("language", "marks", "code", "signs", "quotes", "names", "wording"),
    )
    """The guards that are asked, by name, in this order. Each may veto a candidate or adjust its score."""
