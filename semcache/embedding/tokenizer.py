"""The model's own tokenizer: token ids of a text, their number, and whether the model reads all of the text."""

from __future__ import annotations

import string
from functools import lru_cache

from tokenizers import Tokenizer

from semcache.embedding.models import ModelFiles
from semcache.errors import StartError

_REMEMBERED_TEXTS = 1024
"""Texts whose token ids are kept: `fits` and `embed` both need those of a request."""
_WORD_LIMIT_CHARS = 100
"""Characters of a word beyond which WordPiece turns it into one unknown token."""
_CHARS_PER_TOKEN_LIMIT = 16
"""Characters for each token of the window beyond which a text counts as too long without being tokenised."""
_COUNTED_CHARS = 20_000
"""Characters by which a longer text is counted: the count is an estimate of usage, and so many take 5 ms."""

_HALF_WIDTH: dict[int, str | int] = {0x3000: " ", **{wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}}
"""The ASCII character of each full-width one, as East Asian keyboards write them. Most vocabularies lack these."""


class TextTokenizer:
    """Makes token ids by the `tokenizers` library. Thread-safe.

    Args:
        files: the model.

    Raises:
        StartError: its tokenizer.json can't be read.
    """

    def __init__(self, files: ModelFiles) -> None:
        path = files.path / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exceptions
            raise StartError(
                f"the embedding model's tokenizer {path} can't be read: {error}",
                hint="Use a model that carries a tokenizer.json.",
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._lower_case = files.lower_case
        self._prefix = files.prefix
        self._window = files.max_tokens
        self._max_chars = files.max_tokens * _CHARS_PER_TOKEN_LIMIT
        self._unknown_id = tokenizer.token_to_id(files.unknown_token) if files.unknown_token else None
        self._encode = lru_cache(maxsize=_REMEMBERED_TEXTS)(self._encode_now)
        plain = " ".join(string.ascii_letters + string.digits + string.punctuation)
        self._reads_ascii = self._unknown_id not in self._encode_now(plain)
        self._free_chars = min(_WORD_LIMIT_CHARS, files.max_tokens - len(self._encode_now("")) - 1)

    def fits(self, text: str) -> bool:
        """Return whether the text lies within the window and has no unknown tokens.

        An unknown token counts as cut, because two texts that differ only there have the same vector. Short ASCII is
        decided without tokenising: it has at most one token a character. Other text may have more, because some
        normalisers take a character apart.
        """
        if self._reads_ascii and len(text) <= self._free_chars and text.isascii():
            return True
        if len(text) > self._max_chars:
            return False
        ids = self._encode(text)
        return len(ids) <= self._window and self._unknown_id not in ids

    def knows(self, text: str) -> bool:
        """Return whether the beginning of the text that may lie within the window has no unknown tokens."""
        return self._unknown_id not in self._encode(text[: self._max_chars])

    def ids(self, text: str) -> tuple[int, ...]:
        """Return token ids with the special ones, cut to the window; the last special token is kept."""
        ids = self._encode(text[: self._max_chars])
        return ids if len(ids) <= self._window else (*ids[: self._window - 1], ids[-1])

    def count(self, text: str) -> int:
        """Return the number of tokens without the special ones; extrapolated beyond the first 20,000 characters."""
        head = text[:_COUNTED_CHARS]
        tokens = len(self._tokenizer.encode(head, add_special_tokens=False).ids)
        return tokens if len(head) == len(text) else round(tokens * len(text) / len(head))

    def _encode_now(self, text: str) -> tuple[int, ...]:
        whole = self._prefix + (text if text.isascii() else text.translate(_HALF_WIDTH))
        # The fast variant leaves out the position of each token in the text, which saves a seventh of the time.
        (encoded,) = self._tokenizer.encode_batch_fast([whole.lower() if self._lower_case else whole])
        return tuple(encoded.ids)
