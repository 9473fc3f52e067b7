"""What open streams hold, in bytes, with a limit for each tenant and one overall.

A stream begins only where there is room for it. What grows past a limit all the same is dropped: of the tenant that
holds too much, from the holder with most bytes. A reader that lacks what is dropped gets the error STREAM_MEMORY. The
upstream call goes on, and its answer is stored.
"""

from __future__ import annotations

from typing import Protocol

from semcache.errors import OverLimitError
from semcache.settings import LimitSettings


class Holder(Protocol):
    """What holds bytes for the readers of open streams: one flight, or one answer that is replayed."""

    @property
    def can_drop(self) -> bool:
        """Whether `drop` frees bytes."""
        ...

    def drop(self) -> int:
        """Free some bytes, at least one; return those that are still held. A reader that lacks them gets an error."""
        ...


class StreamMemory:
    """The bytes of all holders, by tenant. Belongs to the event loop."""

    def __init__(self, limits: LimitSettings) -> None:
        """Begin empty; `limits` has the bounds in bytes, `stream_bytes` and `tenant_stream_bytes`."""
        self._max_bytes = limits.stream_bytes
        self._tenant_bytes = limits.tenant_stream_bytes
        self._held: dict[str, dict[Holder, int]] = {}
        self._sums: dict[str, int] = {}
        self.size_bytes = 0
        """Bytes of all holders."""

    def __repr__(self) -> str:
        """Tell the bytes, the holders and the tenants."""
        holders = sum(map(len, self._held.values()))
        return f"<StreamMemory {self.size_bytes} bytes, {holders} holders, {len(self._held)} tenants>"

    def require_room(self, tenant: str, size_bytes: int) -> None:
        """Raise where a further holder of so many bytes would pass a limit.

        Raises:
            OverLimitError: STREAM_MEMORY.
        """
        if self._sums.get(tenant, 0) + size_bytes > self._tenant_bytes:
            raise stream_memory_error("The tenant's open streams hold", "limits.tenant_stream_bytes")
        if self.size_bytes + size_bytes > self._max_bytes:
            raise stream_memory_error("All open streams hold", "limits.stream_bytes")

    def keep(self, tenant: str, holder: Holder, size_bytes: int) -> None:
        """Note that a holder has so many bytes now; past a limit, drop holders until it is kept, perhaps this one."""
        held = self._held.setdefault(tenant, {})
        self._count(tenant, size_bytes - held.get(holder, 0))
        held[holder] = size_bytes
        while self._sums.get(tenant, 0) > self._tenant_bytes and self._drop_largest(tenant):
            pass
        while self.size_bytes > self._max_bytes:
            largest = max(self._sums, key=self._sums.__getitem__)
            if not (self._drop_largest(largest) or self._drop_largest(tenant)):
                return  # What is replayed can't be dropped; it had room when it began.

    def release(self, tenant: str, holder: Holder) -> None:
        """Forget a holder; one that isn't known is none."""
        held = self._held.get(tenant)
        size_bytes = None if held is None else held.pop(holder, None)
        if held is None or size_bytes is None:
            return
        self._count(tenant, -size_bytes)
        if not held:
            del self._held[tenant], self._sums[tenant]

    def _count(self, tenant: str, change_bytes: int) -> None:
        self._sums[tenant] = self._sums.get(tenant, 0) + change_bytes
        self.size_bytes += change_bytes

    def _drop_largest(self, tenant: str) -> bool:
        """Free bytes of the tenant's largest holder that can drop some; return False where there is none."""
        held = self._held.get(tenant, {})
        largest = max((holder for holder in held if holder.can_drop), key=held.__getitem__, default=None)
        if largest is None:
            return False
        left_bytes = largest.drop()
        if left_bytes:
            self._count(tenant, left_bytes - held[largest])
            held[largest] = left_bytes
        else:
            self.release(tenant, largest)
        return True


def stream_memory_error(whose: str, setting: str) -> OverLimitError:
    """Return the error of a stream for which there is no room.

    Args:
        whose: the beginning of its sentence.
        setting: the name of the limit.
    """
    return OverLimitError(
        f"{whose} as many bytes as they may.",
        reason="STREAM_MEMORY",
        retry_after_s=1.0,
        hint=f"Read streams as they come, open fewer at once, or raise {setting}.",
    )
