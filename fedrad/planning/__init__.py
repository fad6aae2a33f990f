"""What a study would cost and reach, before anybody signs: the same answers for both sides.

To read in this order: ``noise`` (what is spent), ``precision`` (what a release can show),
``traffic`` and ``effort`` (what a round takes), ``outcomes`` and ``verdict`` (what training
reached where it was measured), ``forecast`` (all of it together), ``grounds`` and ``wording``
(how a person reads it).
"""
