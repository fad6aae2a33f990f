"""The coordinator's programs on one machine: Flower's server, the gateway, the studies' runs.

``server`` starts and keeps them; ``superlink`` is Flower's server, ``gateway`` the door that
hospitals come through, ``launcher`` what starts a study's program (``study_process``) when
Flower's server has a task; ``state`` is what other commands may know of it.
"""
