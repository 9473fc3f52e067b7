"""Reading a prompt: its words, numbers, dates, units, code tokens and stance, and how two texts' words align.

All functions here are pure functions over strings and word tables. None knows an entry, a similarity or a decision.
"""
