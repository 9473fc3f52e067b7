"""The model's own tokenizer, uncut, and the question whether the model reads all of a text."""

from __future__ import annotations

import string
from functools import lru_cache

from tokenizers import Tokenizer

from semcache.embedding.models import ModelFiles
from semcache.errors import StartError

_REMEMBERED = 1024
_WORD_LIMIT_CHARS = 100
"""WordPiece turns a longer word into one unknown token."""
_CHARS_PER_TOKEN_LIMIT = 16
"""Beyond this many characters for each token of the window nothing is tokenised: such a text is taken as too long."""
_COUNTED_CHARS = 20_000
"""Longer texts are counted by their beginning: the count is an estimate of usage, and 20,000 characters take 5 ms."""


class TextTokenizer:
    """Token ids by the `tokenizers` library. Thread-safe."""

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
        # A request's text is asked for twice, by `fits` and by `embed`.
        self._encode = lru_cache(maxsize=_REMEMBERED)(self._encode_now)
        plain = " ".join(string.ascii_letters + string.digits + string.punctuation)
        self._reads_ascii = self._unknown_id not in self._encode_now(plain)
        self._free_chars = min(_WORD_LIMIT_CHARS, files.max_tokens - len(self._encode_now("")) - 1)

    def fits(self, text: str) -> bool:
        """Whether the text lies within the window and holds nothing that the model has no token for.

        An unknown token counts as cut: two texts that differ only there have the same vector. Short ASCII is decided
        without tokenising: it has at most one token a character. (Other text may have more: some normalisers take a
        character apart.)
        """
        if self._reads_ascii and len(text) <= self._free_chars and text.isascii():
            return True
        if len(text) > self._max_chars:
            return False
        ids = self._encode(text)
        return len(ids) <= self._window and self._unknown_id not in ids

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids with the special ones, cut to the window keeping the last special token."""
        ids = self._encode(text[: self._max_chars])
        return ids if len(ids) <= self._window else (*ids[: self._window - 1], ids[-1])

    def count(self, text: str) -> int:
        """Tokens without the special ones; extrapolated beyond the first 20,000 characters."""
        head = text[:_COUNTED_CHARS]
        tokens = len(self._tokenizer.encode(head, add_special_tokens=False).ids)
        return tokens if len(head) == len(text) else round(tokens * len(text) / len(head))

    def _encode_now(self, text: str) -> tuple[int, ...]:
        whole = self._prefix + text
        # "Fast" leaves out where in the text each token stands, a seventh of the time.
        (encoded,) = self._tokenizer.encode_batch_fast([whole.lower() if self._lower_case else whole])
        return tuple(encoded.ids)
