"""A memory with a limit in items and in bytes that tenants share fairly: of a full one, who holds most loses first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_NONE = -1


class _Item(NamedTuple, Generic[Value]):
    tenant: str
    value: Value
    size_bytes: int


class _Share(Generic[Key]):
    """What one tenant holds.

    Attributes:
        keys: its keys, the least recently used first.
        size_bytes: the bytes of its values.
        digits: binary digits of these bytes, by which its tenant is kept; `_NONE` while it holds nothing.
    """

    __slots__ = ("digits", "keys", "size_bytes")

    def __init__(self) -> None:
        self.keys: OrderedDict[Key, None] = OrderedDict()
        self.size_bytes = 0
        self.digits = _NONE


class FairMemory(Generic[Key, Value]):
    """Values by key, each of one tenant. A key is of one tenant alone. One thread uses it.

    When a limit is passed, the tenant that holds the most bytes loses its least recently used value. So a tenant loses
    nothing to another one that holds more than twice as much.

    Tenants are kept by the number of binary digits of their bytes. Finding one that holds most takes the same time
    however many there are, and it is right within a factor of two.

    Args:
        max_items: values at most.
        max_bytes: bytes of all values at most, as their givers weigh them.
        on_forgotten: is told of each value that left because of a limit: its tenant, its key, the value.
    """

    def __init__(
        self,
        *,
        max_items: int,
        max_bytes: int,
        on_forgotten: Callable[[str, Key, Value], None] | None = None,
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._on_forgotten = on_forgotten
        self._items: OrderedDict[Key, _Item[Value]] = OrderedDict()
        self._shares: dict[str, _Share[Key]] = {}
        self._by_digits: dict[int, OrderedDict[str, None]] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._items)

    def __contains__(self, key: Key) -> bool:
        """Return whether there is a value under a key."""
        return key in self._items

    @property
    def size_bytes(self) -> int:
        """Bytes of all values, never more than `max_bytes`."""
        return self._size_bytes

    @property
    def is_full(self) -> bool:
        """Whether another value would make one leave by the number of values."""
        return len(self._items) >= self._max_items

    def get(self, key: Key) -> Value | None:
        """Return the value under a key; None if there is none."""
        item = self._items.get(key)
        return None if item is None else item.value

    def use(self, key: Key) -> Value | None:
        """Return the value under a key, which counts as its use; None if there is none."""
        item = self._items.get(key)
        if item is None:
            return None
        self._shares[item.tenant].keys.move_to_end(key)
        return item.value

    def put(self, tenant: str, key: Key, value: Value, size_bytes: int) -> None:
        """Keep a value under a key, in the place of the one that was there, if the limits allow it."""
        self.pop(key)
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = _Share()
        self._items[key] = _Item(tenant, value, size_bytes)
        share.keys[key] = None
        self._resize(tenant, share, size_bytes)
        while len(self._items) > self._max_items or self._size_bytes > self._max_bytes:
            self._forget(next(iter(self._shares[self.largest].keys)))

    def pop(self, key: Key) -> Value | None:
        """Take out the value under a key and return it; None if there is none."""
        item = self._items.pop(key, None)
        if item is None:
            return None
        share = self._shares[item.tenant]
        del share.keys[key]
        self._resize(item.tenant, share, -item.size_bytes)
        return item.value

    def oldest(self) -> tuple[Key, Value] | None:
        """Return the value that was put first, with its key; None if there is none."""
        return next(((key, item.value) for key, item in self._items.items()), None)

    def newest_of(self, tenant: str) -> Iterator[tuple[Key, Value]]:
        """Yield a tenant's values with their keys, the most recently used first."""
        share = self._shares.get(tenant)
        for key in reversed(share.keys) if share is not None else ():
            yield key, self._items[key].value

    def holds_of(self, tenant: str) -> bool:
        """Return whether there is a value of a tenant."""
        return tenant in self._shares

    @property
    def largest(self) -> str:
        """A tenant that holds most, within a factor of two; empty if nothing is held."""
        return next(iter(self._by_digits[max(self._by_digits)])) if self._by_digits else ""

    def _forget(self, key: Key) -> None:
        tenant = self._items[key].tenant
        value = self.pop(key)
        if self._on_forgotten is not None and value is not None:
            self._on_forgotten(tenant, key, value)

    def _resize(self, tenant: str, share: _Share[Key], change_bytes: int) -> None:
        """Count a change of a share's bytes, and keep its tenant among those that hold as much."""
        self._size_bytes += change_bytes
        share.size_bytes += change_bytes
        digits = share.size_bytes.bit_length() if share.keys else _NONE
        if digits == share.digits:
            return
        if share.digits != _NONE:
            alike = self._by_digits[share.digits]
            del alike[tenant]
            if not alike:
                del self._by_digits[share.digits]
        if digits == _NONE:
            del self._shares[tenant]
        else:
            self._by_digits.setdefault(digits, OrderedDict())[tenant] = None
        share.digits = digits
