"""What a tracker that people already have is told of a run: released numbers, sites as letters.

``told`` decides what that is, ``mlflow_sink`` sends it, ``follow`` does so while runs go on, in a
process of its own: rounds know nothing of it, and a tracker that fails stops none.
"""
