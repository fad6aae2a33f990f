"""The model card: what a run's records say of its model, as Markdown and JSON.

``content`` gathers it, in the sections of Mitchell et al. 2019 and with the fields of Hugging
Face's model cards; ``figures`` are performance, privacy and history; ``sbom`` lists the software;
``write`` puts them beside the model, where ``fedrad.released`` lists and signs all files. Nothing
is typed: what no record says is "not measured" or "not stated". Hospitals are letters unless
the contract says otherwise (``letters``).
"""
