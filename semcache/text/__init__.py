"""Reading a prompt: its words, numbers, dates, units, code tokens and stance, and how two texts' words align.

Pure functions over strings and word tables. Nothing here knows an entry, a similarity or a decision.
"""
