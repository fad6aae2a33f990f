"""The hospital's own page: what its machine did and sent today, what is spent, how to stop it.

Everything here stays on this machine. In order: ``records`` (lines of the site's record),
``today``, ``left`` (what left, decoded), ``state`` (what needs a look), ``acting``, ``site_map``.
"""
