"""A model at work on one DICOM study, for research: ``fedrad-site predict``.

``study`` finds the images that the task allows, ``reading`` opens them in a worker process,
``restore`` brings an answer back onto the image's own grid, ``clean`` is the post-processing that
the task names, ``segment`` writes DICOM SEG, ``saliency`` asks MONAI where a score comes from,
``page`` and ``result`` show it, ``run`` is the whole of it. Everything is written to one folder;
nothing here can reach a PACS (an import contract in ``pyproject.toml`` says so).
"""
