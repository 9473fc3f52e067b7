"""A sentence-transformers model of a few thousand random weights, for tests that run or train a network."""

from __future__ import annotations

import json
import string
from pathlib import Path

WIDTH, LAYERS = 16, 2
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_tiny_model(folder: Path, *, seed: int = 1) -> Path:
    """Writes a BERT with letters as tokens, mean pooling and random weights; returns its folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    letters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=128,
    )
    folder.mkdir()
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
    modules = [{"idx": 0, "path": "", "type": names[0]}, {"idx": 1, "path": "1_Pooling", "type": names[1]}]
    (folder / "1_Pooling").mkdir()
    described = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 128},
        "tokenizer_config.json": {"unk_token": "[UNK]"},
    }
    for name, content in described.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder
