"""Parts of the report about windows: each a few numbers, where they are drawn, and one sentence.

A panel reads what was released and recorded; it judges nothing and asks nobody. ``shift_panels``
puts them together, the templates draw them.
"""
