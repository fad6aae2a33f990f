"""``fedrad-aggregator export``: a run's tables for a statistician, with a dictionary.

``dictionary`` says what every column is, ``tables`` writes them. What may leave is decided by
``letters``.
"""
