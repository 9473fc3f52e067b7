"""Before any model runs: the exact tier, work already in flight, and leases."""

from semcache.lookup.exact import ExactTier
from semcache.lookup.flights import Flight, Flights
from semcache.lookup.invalidations import Invalidations
from semcache.lookup.leases import Lease, Leases
from semcache.lookup.pending import PendingLookups
from semcache.lookup.twins import Twin, Twins

__all__ = ["ExactTier", "Flight", "Flights", "Invalidations", "Lease", "Leases", "PendingLookups", "Twin", "Twins"]
