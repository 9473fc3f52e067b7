"""`python -m semcache`."""

from semcache.cli import main

raise SystemExit(main())
