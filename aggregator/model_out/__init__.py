"""A run's model in the forms in which it leaves: fedrad's own folder, a MONAI bundle, ONNX.

``folder`` writes them, ``graph`` makes a program of a network that needs no fedrad, ``bundle``
and ``onnx_file`` write it, and ``agreement`` compares each with the original on the same images
before anything counts as written. Nothing here sees an image of a hospital.
"""
