"""Turn the raw bytes of a request into a keyed request.

- `parsing.py` parses and checks the body. `forms/` has for each protocol the table of its fields (`fields.py` says what
  a field does to the keys) and what its bodies say; `wishes.py` reads their limits.
- `keying.py` computes the exact key and the partition; `templates.py` divides a template's slots.
- `emoji.py` takes emoji out of the compared text.
- `cacheability.py` decides how much of the cache a request may use, and `storable.py` which answers are stored.
- `repeatability.py` names requests whose answer mustn't be given again, by the wordings in `tables/`, which
  `wordings.py` reads.
- `tasks.py` names the task type and the complexity; `patterns.py` searches texts for an operator's patterns.

Long bodies (`is_long`) are read and keyed on the thread for long work, so `check_values`, `decode_json`, `parse_body`
and `Keying.compute` change no state. Everything else runs on the event loop's thread. `Keying` remembers the keys of
recent small requests.
"""

from semcache.request.cacheability import CacheabilityRules
from semcache.request.forms.embeddings import inputs_of
from semcache.request.keying import Keying, secret_key_id
from semcache.request.memo import RequestMemo
from semcache.request.parsing import (
    MAX_MODEL_CHARS,
    check_values,
    decode_json,
    has_more_values,
    is_long,
    parse_body,
)
from semcache.request.storable import skip_reason
from semcache.request.tasks import Tasks, exemplar_texts
from semcache.request.templates import Templates

__all__ = [
    "MAX_MODEL_CHARS",
    "CacheabilityRules",
    "Keying",
    "RequestMemo",
    "Tasks",
    "Templates",
    "check_values",
    "decode_json",
    "exemplar_texts",
    "has_more_values",
    "inputs_of",
    "is_long",
    "parse_body",
    "secret_key_id",
    "skip_reason",
]
