"""What the service costs, for ``docs/performance.md``.

No room imports this one; it may import all of them, and the tests.

- ``make bench``, beside other receivers: ``contest`` runs it; ``contenders``, ``noop`` and ``rotel`` are the
  servers, ``workload`` the requests, ``load`` sends them, ``contenders_page`` has the tables.
- ``make bench-scale``, by size: ``scale`` runs it; ``fleet``, ``scrapes``, ``senders``, ``gateway`` are the
  load, ``hec`` and ``watching`` see what becomes of it, ``growth`` and ``idle`` are the other parts,
  ``scale_page`` has the tables, ``curves`` the picture.
- ``make bench-replay``: ``replay`` runs it; ``day`` is what is read, ``readers`` another way to do it,
  ``states`` and ``restart`` are the starts, ``replay_page`` has the tables.
- ``make bench-check``, in instructions: ``counts`` runs it; ``callgrind`` counts ``parts``,
  against ``baseline``, ``counts_page`` has the table.

All use ``page``, ``markdown``, ``circumstances`` and ``cost``. ``results`` is written by runs alone.
"""
