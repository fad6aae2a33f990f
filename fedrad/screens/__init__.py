"""What both ends' screens share: who may look and act, one look, live changes, a way to serve them.

Nothing here knows a run, a site or a patient.
"""
