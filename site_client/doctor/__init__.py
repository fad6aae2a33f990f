"""What keeps this site from the coordinator: every step of the way out, each with a sentence.

``examine`` goes through them in the order in which a connection is made and stops where one
fails; ``way_out`` opens sockets, ``authenticity`` judges who answered, ``door`` what the
gateway says, ``own`` looks at this machine. Nothing is changed, nothing of a patient is read
and no secret is shown.
"""
