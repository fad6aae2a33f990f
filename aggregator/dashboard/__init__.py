"""The coordinator's dashboard: pages drawn by the server from the records of runs.

In order: ``places`` (which runs there are), ``book`` (rows of one), ``names`` (who reads which
names), ``matters`` (what needs a look), ``charts`` (geometry), one module for each page,
``acting`` (what an operator decides), ``site_map`` (addresses), ``serve``.
"""
