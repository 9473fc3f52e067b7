"""Who waits for whom: flights, twins, leases, lookups that await their Store, and invalidations under way."""

from semcache.coordination.flights import Flight, Flights
from semcache.coordination.invalidations import Invalidations
from semcache.coordination.leases import Lease, Leases
from semcache.coordination.pending import PendingLookups
from semcache.coordination.twins import Twin, Twins

__all__ = ["Flight", "Flights", "Invalidations", "Lease", "Leases", "PendingLookups", "Twin", "Twins"]
