"""Has a site's data shifted, how, and since when: from windows of noised sums alone.

``descriptors`` and ``moments`` look at images, ``tags`` at what a scanner says of itself,
``blocks`` makes the sums of one window, ``windows`` says which patients are in it: the site's
half. ``estimates``, ``reference``, ``statistics``, ``calibration``, ``cusum`` and ``alarms``
read released windows: the aggregator's half. ``gate`` compares two models on the same
patients. Nothing here reads a file but named constants, and nothing draws privacy noise.
"""
