"""Any row of any place is read back as it was written, and at no other place."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from semcache.encryption import DAMAGED_ROW, KeyRing, MasterKey, is_encrypted

PLACE = st.binary(min_size=1, max_size=80)
TENANT = st.none() | st.text(st.characters(codec=None), max_size=20)
ROWS = st.lists(st.tuples(TENANT, PLACE, st.binary(max_size=3000)), min_size=1, max_size=5)
MASTER = MasterKey(b"k" * 32)


@given(ROWS, PLACE)
def test_rows_come_back_at_their_place_alone_by_another_process_too(rows, other_place):
    with tempfile.TemporaryDirectory() as folder:
        ring = KeyRing(Path(folder), [MASTER], readonly=False)
        stored = [ring.encrypt(*row) for row in rows]
        ring.sync()
        assert all(map(is_encrypted, stored))
        for reader in (ring, KeyRing(Path(folder), [MASTER], readonly=True)):
            for (tenant, place, row), encrypted in zip(rows, stored, strict=True):
                assert reader.decrypt(place, encrypted) == row
                assert reader.tenant_of(encrypted) == tenant
                if other_place != place:
                    assert reader.decrypt(other_place, encrypted) == DAMAGED_ROW
