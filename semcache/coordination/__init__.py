"""Who waits for whom: flights, twins, leases, lookups that await their Store, and invalidations under way.

Owns: the work in flight and everything that several callers of one answer must agree on while it runs.
Thread: the event loop alone.
Remembers: flights and twins for as long as an upstream call runs, and the chunks of streams until their readers have
them, up to `limits.stream_bytes` and `limits.tenant_stream_bytes`; leases and lookups up to `limits.pending_lookups`,
`limits.pending_lookup_bytes` and `limits.lookup_ttl_s`; the last 4,096 invalidations. Tenants share these memories
fairly (`fair_memory`). Nothing of it outlives the process.
"""

from semcache.coordination.flights import Flight, Flights
from semcache.coordination.local import LocalCoordination
from semcache.coordination.stream_memory import StreamMemory
from semcache.coordination.twins import Twin, Twins

__all__ = ["Flight", "Flights", "LocalCoordination", "StreamMemory", "Twin", "Twins"]
