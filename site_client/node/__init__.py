"""The site's programs on its machine: one connection out, one worker, nothing else.

``start`` keeps them; ``connector`` is Flower's node, ``launcher`` takes its tasks and hands
those that may run to ``worker``, which keeps ``runner``: the process that works on patients.
"""
