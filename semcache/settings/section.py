"""The base of every section of the settings, and the types of their values."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
)

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$")]


def _compiles(pattern: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ValueError(f"{pattern!r} is no regular expression in RE2's syntax: {reason}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression in RE2's syntax."""
SHIPPED = "+shipped"
"""In a list of patterns, the wordings that ship with semcache. It is no pattern, since it begins with a repetition."""
ListedPattern = Annotated[str, AfterValidator(lambda pattern: pattern if pattern == SHIPPED else _compiles(pattern))]
"""A regular expression in RE2's syntax, or `SHIPPED`."""
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000, max_digits=18, decimal_places=9)]


class Section(BaseModel):
    """A section of the settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
