"""What a hospital may tell before a study is agreed on: one noised record of its patients.

``cells`` says what is counted, ``record`` how it is written, ``estimates`` what can be read
off it. Counting and charging belong to ``site_client.sharing``, several records together to
``aggregator.feasibility``.
"""
