"""The numbers of the index that aren't settings, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """Limits that were measured or bound memory; the measurements are in `benchmarks/README.md`, "The index's numbers".

    Attributes:
        max_batch: searches answered together; later ones wait for the next turn, so that changes are never far behind.
        shrink: factor by which a partition must fall below a limit before it goes back: a margin against flapping.
        few_neighbours: neighbours up to which repeated `argmax` beats `argpartition`.
        groups: groups of rows whose largest products are compared first: fewer are less telling, more cost more.
        product_cells: similarities (rows × queries) in memory at once on a CPU: 16 MiB.
        block_cells: rows × queries up to which OpenBLAS multiplies matrices in place, without a copy of them.
        block_queries: queries up to which products in such blocks are faster than one product.
        split_rows: vectors rounded at a time, so that the parts in between take little memory.
        rounded_from: vectors from which bfloat16 products come first; fewer lie in the cache, where float32 is faster.
        rounded_shapes: shapes that OpenVINO compiles before it starts anew: each keeps .5 MB until then.
        trial_rows: vectors in the trial that compares bfloat16 with float32 products at the start.
        trial_queries: queries in that trial.
        trial_rounds: rounds of that trial; the fastest of each side counts.
        trial_gain: factor by which bfloat16 must be faster, to pay for the second look in float32.
        dense_searches: searches in a row with too many contenders after which a partition returns to float32.
        dense_parts: contenders are too many above (`dense_queries` + queries) / `dense_parts` of all vectors.
        dense_queries: the constant of that limit: one query may find 9 / 256, which is 3.5 %.
        exhaustive_queries: the constant of the limit of queries from which all vectors are searched instead of lists.
        exhaustive_rows: one more query for each so many vectors: IVF looks through its lists for each query alone.
        exhaustive_max_rows: vectors up to which that holds: 32 queries still fit into `product_cells`.
        retrain_growth: factor of growth after which an IVF index is trained again: its lists have become too long.
        samples_per_list: vectors that k-means sees for each list; more take minutes and gain nothing measurable.
        training_iterations: rounds of k-means; FAISS's own default is 25.
        list_slack_parts: a list is given room for 1/16 more than it holds at first.
        fill_vectors: vectors added to a new IVF index between two batches of searches: about 4 ms.
        training_patience_s: seconds that `close` waits for a training, which can't be interrupted.
        tombstones: removed rows that a FAISS index on a GPU keeps before it is built again.
        tombstone_share: the same as a share of all its rows; the larger of the two limits holds.
        gpu_cells: similarities in the GPU's memory at once: 128 MiB.
    """

    max_batch: int = 256
    shrink: int = 2
    few_neighbours: int = 10
    groups: int = 200
    product_cells: int = 1 << 22
    block_cells: int = 2048
    block_queries: int = 32
    split_rows: int = 1024
    rounded_from: int = 4096
    rounded_shapes: int = 64
    trial_rows: int = 4096
    trial_queries: int = 32
    trial_rounds: int = 5
    trial_gain: float = 1.3
    dense_searches: int = 16
    dense_parts: int = 256
    dense_queries: int = 8
    exhaustive_queries: int = 2
    exhaustive_rows: int = 12_500
    exhaustive_max_rows: int = 1 << 17
    retrain_growth: int = 4
    samples_per_list: int = 64
    training_iterations: int = 10
    list_slack_parts: int = 16
    fill_vectors: int = 1024
    training_patience_s: float = 5.0
    tombstones: int = 1024
    tombstone_share: float = 0.1
    gpu_cells: int = 1 << 25


TUNING = IndexTuning()
"""The numbers as shipped."""
