"""Has a site's data shifted, how, and since when: from windows of noised sums alone.

What both ends know: ``agreed`` is what a task says of its windows, ``windows`` and ``due`` are
their dates. The site's half: ``descriptors``, ``moments``, ``encoder``, ``contents`` and
``extras`` look at images, ``tags`` at what a scanner says of itself, ``blocks`` makes the sums of
one window, ``report`` their bytes. The aggregator's half reads released windows: ``estimates``,
``reference`` and ``statistics`` how far one is from before, ``cusum`` and ``alarms`` since when,
``evidence`` puts it into words; ``diagnosis`` says of what kind a change is, ``drop`` what it
costs, ``recalibration`` what would mend it; ``prevalence`` reads scores before their labels come,
``claims`` holds what a site says against the others. ``pairs`` and ``gate`` compare two models on
the same patients. Nothing here reads a file but named constants, and nothing draws privacy noise.
"""
