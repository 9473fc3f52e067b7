"""Compute the exact key and the partition of a request.

- The exact key is a SHA-256 over everything that can change the answer.
- The partition is an HMAC over everything except the text that is compared by meaning. It must be equal before a
  similarity may count.

Both are made from one canonical document, so that no field can be in one key and missing in the other.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from semcache.errors import InvalidRequestError
from semcache.model import ApiProtocol, Cacheability, CacheMode, KeyedRequest, Request, Template, Tier, canonical_json
from semcache.request.cacheability import CacheabilityRules
from semcache.request.emoji import split_emoji
from semcache.request.fields import Role, named_end_users
from semcache.request.forms import FORMS, BodyForm
from semcache.request.memo import RequestMemo
from semcache.request.parsing import ParsedBody, message_text, parse_body, texts_of
from semcache.request.templates import Templates
from semcache.settings import LimitSettings

_KEY_VERSION = "semcache-key-1"
_MAX_OTHER_EMBEDDERS = 3
"""Other embedders whose partitions are computed for a request, the latest ones: each costs two microseconds."""
_ODD = Cacheability(Tier.NONE, "unknown_form")
_AS_ASKED = Cacheability(Tier.EXACT, "exact_only")
_OF_A_PLAIN_PART = frozenset({"type", "text", "cache_control"})
"""Fields of a text part beside which it has nothing that could change the answer: `cache_control` is about the
provider's prompt cache."""


def secret_key_id(secret: str) -> str:
    """Return a name for a secret that doesn't reveal it: 16 hex digits, kept in the store."""
    return hmac.digest(secret.encode(), b"semcache partition key id", "sha256").hex()[:16]


class Keying:
    """Computes the keys of requests."""

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        fingerprint: str,
        route_policy_version: str,
        templates: Templates,
        limits: LimitSettings,
        cacheability: CacheabilityRules,
        per_end_user: bool,
        memo: RequestMemo | None = None,
        other_embedders: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Set up the keys.

        Args:
            secrets: the partitions' secrets: the current one first, then older ones that are kept for reading.
            fingerprint: the embedder's.
            route_policy_version: the version of the routes, part of both keys.
            templates: divides the slots of templates.
            limits: the limits of a body.
            cacheability: the rules for how much of the cache a request may use.
            per_end_user: whether the end user that a request names is a part of both keys.
            memo: where the fronts remember requests, so that the keys of one that comes again are made once; None: no
                keys are remembered.
            other_embedders: tells the fingerprints of other embedders whose vectors are stored, the latest first; any
                thread may call it.
        """
        # A copy of a keyed hash costs a fifth of a new one.
        self._hmacs = [hmac.new(secret.encode(), digestmod="sha256") for secret in secrets]
        self._fingerprint = fingerprint
        self._other_embedders = other_embedders
        self._route_policy_version = route_policy_version
        self._templates = templates
        self._limits = limits
        self._cacheability = cacheability
        in_document = {Role.PARTITION, Role.END_USER} if per_end_user else {Role.PARTITION}
        self._not_in_document = {
            form: frozenset(name for name, field in form.fields.items() if field.role not in in_document)
            for form in FORMS.values()
        }
        self._per_end_user = per_end_user
        self._memo = memo if memo is not None else RequestMemo()

    def key(self, request: Request) -> KeyedRequest:
        """Return a request with its keys. The caller has already checked its names and control.

        Raises:
            InvalidRequestError: the body, its text or its template is wrong; the error's reason says how.
        """
        keyed = self.recall(request)
        if keyed is None:
            keyed = self.compute(request)
            self.remember(request, keyed)
        return keyed

    def recall(self, request: Request) -> KeyedRequest | None:
        """Return a request with its keys if they are remembered."""
        return self._memo.keyed(request)

    def remember(self, request: Request, keyed: KeyedRequest) -> None:
        """Remember the keys of a request, if its message is remembered."""
        self._memo.remember_keys(request, keyed)

    def compute(self, request: Request) -> KeyedRequest:
        """Return a request with its keys, as `key` does, but remember nothing. Any thread may call this.

        Raises:
            InvalidRequestError: the body, its text or its template is wrong; the error's reason says how.
        """
        body = parse_body(request.body, self._limits, request.protocol)
        whole_text, rest = self._split(body, request.template)
        text, emoji = split_emoji(whole_text)
        try:
            document = canonical_json(
                [
                    *_shape(request),
                    request.tenant,
                    request.namespace,
                    body.alias,
                    self._route_policy_version,
                    request.knowledge_version,
                    self._parameters(body),
                    [*rest, *emoji],
                ]
            )
            # Of a template the exact key covers the message as it was sent, with its parts. Of several texts it covers
            # each: a model sees where one ends.
            texts = texts_of(body.messages[-1]) if whole_text and request.template is None else ()
            as_sent = texts if len(texts) > 1 else whole_text
            message = canonical_json(as_sent if request.template is None else [whole_text, body.messages[-1]])
        except UnicodeEncodeError as error:
            problem = "A string in the request holds half of a surrogate pair, which is no Unicode text."
            raise InvalidRequestError(problem, reason="INVALID_TEXT") from error
        partitions = self._partitions(self._fingerprint, document)
        others = self._other_embedders()[:_MAX_OTHER_EMBEDDERS]
        return KeyedRequest(
            request=request,
            alias=body.alias,
            exact_key=hashlib.sha256(b"%b\0%b" % (document, message)).digest(),
            partition=partitions[0],
            older_partitions=partitions[1:],
            inert_partitions=tuple([partition for name in others for partition in self._partitions(name, document)]),
            text=text,
            cacheability=self._cacheability_of(body, text, request.control.mode),
            prompt_chars=body.prompt_chars,
            output_limit=body.wishes.output_limit,
            include_usage=body.wishes.include_usage,
            choices=body.wishes.choices,
        )

    def _cacheability_of(self, body: ParsedBody, text: str, mode: CacheMode) -> Cacheability:
        if body.is_odd:
            return _ODD
        cacheability = self._cacheability.classify(body, text)
        return _AS_ASKED if mode is CacheMode.EXACT_ONLY and cacheability.tier is Tier.SEMANTIC else cacheability

    def _parameters(self, body: ParsedBody) -> dict[str, object]:
        """Return the fields beside the messages that keep requests apart. An end user without a name is none."""
        form, fields = body.form, body.fields
        parameters = {
            name: _normal(_counted(form, name, value))
            for name, value in fields.items()
            if name not in self._not_in_document[form] and not (value == "" and _names_end_user(form, name))
        }
        named = named_end_users(fields.get("metadata")) if self._per_end_user else None
        return {**parameters, "metadata": named} if named else parameters

    def _partitions(self, fingerprint: str, document: bytes) -> tuple[bytes, ...]:
        """Return the partition of a document for an embedder under each secret, the current one first."""
        message = b"%b\0%b" % (fingerprint.encode(), document)
        partitions = []
        for keyed_hash in self._hmacs:
            under_secret = keyed_hash.copy()
            under_secret.update(message)
            partitions.append(under_secret.digest())
        return tuple(partitions)

    def _split(self, body: ParsedBody, template: Template | None) -> tuple[str, list[object]]:
        """Return the text that is compared by meaning, and the part of the messages that must be equal."""
        last = body.messages[-1]
        if body.is_odd:
            return "", ["messages", body.messages]
        text = message_text(last) if last["role"] == "user" else ""
        if template is None and not text.strip():
            return "", ["messages", body.messages]
        shape = {name: value for name, value in last.items() if name != "content"}
        around = [body.messages[:-1], shape, _beside_text(last.get("content"))]
        if template is None:
            return text, ["last", *around]
        filled = self._templates.fill(template, text)
        names = [name for name, _ in filled.compared]
        text = "\n".join(value for _, value in filled.compared)
        return text, ["template", template.template_id, filled.frame, filled.equal, names, *around]


def _shape(request: Request) -> list[object]:
    """Return what the canonical document begins with: the keys' version and, but for chats, protocol and headers."""
    if request.protocol is ApiProtocol.CHAT:
        return [_KEY_VERSION]
    return [_KEY_VERSION, request.protocol, sorted(request.headers)]


def _counted(form: BodyForm, name: str, value: object) -> object:
    """Return what of a field's value is part of the keys; in a schema, the order of its properties is."""
    field = form.fields.get(name)
    counted = value if field is None else field.counted(value)
    return _with_order(counted) if field is None or name in form.with_schemas else counted


def _names_end_user(form: BodyForm, name: str) -> bool:
    return name in form.fields and form.fields[name].role is Role.END_USER


def _beside_text(content: object) -> list[object]:
    """Return what a content has beside its text: per part in order, null for plain text. Empty for text alone."""
    parts = content if isinstance(content, list) else []
    beside: list[object] = [
        {name: value for name, value in part.items() if part["type"] != "text" or name not in _OF_A_PLAIN_PART} or None
        for part in parts
    ]
    return beside if any(beside) else []


def _normal(value: object) -> object:
    # Every provider treats 1 and 1.0 as one number.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_order(value: object) -> object:
    """Return a value in which the properties of each schema are a list: their order is the order in the answer."""
    if isinstance(value, list):
        return [_with_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [[key, _with_order(schema)] for key, schema in item.items()]
        if name == "properties" and isinstance(item, dict)
        else _with_order(item)
        for name, item in value.items()
    }
