"""The dossier: what a hospital's people need in front of them before they approve a study.

``page`` gathers and renders it; ``wire`` shows the messages' fields, ``files`` what lies on
disk, ``flow`` the picture of the way out, ``packages`` what is installed, ``promise`` the
numbers of privacy. Everything comes from this site's settings, the invitation and what is
installed here; it opens no image and reads no patient.
"""
