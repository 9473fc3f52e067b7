"""Checks of the fields beside a request's body: names, times, the threshold, a template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from semcache.errors import InvalidRequestError
from semcache.model import CacheControl, Template
from semcache.settings import LimitSettings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@#+=-]{0,127}")
_NANOS_PER_S = 1_000_000_000
_LAST_S = 253_402_300_799
"""Wall-clock seconds: the last second of 9999. Protobuf has no valid timestamp after it."""
_NAME_HINT = 'Use 1 to 128 of A-Z, a-z, 0-9 and "._:/@#+=-", a letter or digit first.'


def check_name(text: str, field: str) -> str:
    """Return `text` if it is empty or a name.

    Raises:
        InvalidRequestError: INVALID_NAME, with the field's name.
    """
    if text and not _NAME.fullmatch(text):
        raise InvalidRequestError(
            f"{field} has forbidden characters or is too long.",
            reason="INVALID_NAME",
            hint=_NAME_HINT,
            metadata={"field": field},
        )
    return text


def check_names(texts: Sequence[str], field: str, limits: LimitSettings) -> tuple[str, ...]:
    """Return the tags or sources `texts` in order, each once.

    Raises:
        InvalidRequestError: INVALID_NAME; TOO_MANY_TAGS for more than the configured number.
    """
    if not texts:
        return ()
    if len(texts) > limits.tags:
        raise InvalidRequestError(
            f"{len(texts)} {field} are too many.",
            reason="TOO_MANY_TAGS",
            hint=f"At most {limits.tags} are allowed (limits.tags).",
            metadata={"field": field},
        )
    if "" in texts:
        raise InvalidRequestError(
            f"{field} has an empty value.", reason="INVALID_NAME", hint=_NAME_HINT, metadata={"field": field}
        )
    return tuple(dict.fromkeys(check_name(text, field) for text in texts))


def check_control(control: CacheControl) -> CacheControl:
    """Return `control` if its times and its threshold are possible.

    Raises:
        InvalidRequestError: INVALID_TTL, INVALID_MAX_AGE, INVALID_THRESHOLD.
    """
    if control.ttl_s is not None and control.ttl_s <= 0:
        raise InvalidRequestError("ttl is not above 0.", reason="INVALID_TTL", hint="To keep nothing, set no_store.")
    if control.max_age_s is not None and control.max_age_s < 0:
        raise InvalidRequestError("max_age is negative.", reason="INVALID_MAX_AGE", hint="Leave it out for any age.")
    threshold = control.similarity_threshold
    if threshold is not None and not -1.0 <= threshold <= 1.0:
        raise InvalidRequestError(
            f"similarity_threshold is {threshold}.", reason="INVALID_THRESHOLD", hint="A cosine lies between -1 and 1."
        )
    return control


def check_template(template: Template) -> Template:
    """Return `template` if it has an id and its slots have different names.

    Raises:
        InvalidRequestError: INVALID_TEMPLATE, INVALID_NAME.
    """
    names = [check_name(name, "template.slots.name") for name, _ in template.slots]
    if not template.template_id or "" in names or len(set(names)) < len(names):
        raise InvalidRequestError(
            "the template has no id, or slots without names of their own.",
            reason="INVALID_TEMPLATE",
            hint="Name the template and each of its slots, or leave the template out.",
        )
    check_name(template.template_id, "template.id")
    return template


def wall_seconds(timestamp: Timestamp, field: str) -> float:
    """Return a timestamp as wall-clock seconds.

    Raises:
        InvalidRequestError: `field` holds no time from 1970 to 9999.
    """
    if not 0 <= timestamp.seconds <= _LAST_S or not 0 <= timestamp.nanos < _NANOS_PER_S:
        raise InvalidRequestError(f"{field} is no time from 1970 to 9999.", hint="Send a valid timestamp.")
    return timestamp.seconds + timestamp.nanos / _NANOS_PER_S
