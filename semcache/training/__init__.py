"""Train an adapter of the embedding model on labels: groups, pairs and edits made by rules.

- `groups.py` and `labelled.py` read the labels; `tested.py` refuses texts that semcache's own quality is measured on.
- `edits.py` and `frames.py` make further labelled pairs by rules, without a model; `tables/` has their words.
- `batches.py` draws the texts and pairs of each step from a seed and the step's number alone.
- `guard_scores.py` says what the guards add to a pair's cosine: what they decide needn't be learned.
- `lora.py` puts low-rank corrections into the model's linear layers; `loss.py` says what they are trained for.
- `loop.py` trains one seed, `checkpoint.py` keeps its state; `run.py` trains all seeds and makes their average.
- `measuring.py` measures the labels that were held back; `card.py` writes what was done beside the adapter.

It runs in the thread that calls it, for minutes, and remembers nothing. Nothing in the server imports it.
"""
