"""Read a prompt: its words, numbers, dates, units, code tokens and stance; and align the words of two texts.

- `texts.py` prepares a text for all that follows: `Text` holds its words, language, script and numbers.
- `numbers.py`, with `dates.py` and `units.py`, reads numbers by value.
- `code_tokens.py` finds code, `quotations.py` quotations.
- `courtesy.py` finds the request between a polite beginning and a polite end.
- `content.py` reads the content words and the skeleton, `stance.py` how a text asks, `marks.py` the marks of letters.
- `alignment.py` finds which words of two texts are counterparts.
- `lexicon.py`, `spelling.py`, `opposites.py` and `synonyms.py` know words; their lists are in `tables/`.

All functions are pure. None knows an entry, a similarity or a decision. What is computed of a single word is kept in a
`Memo`, at most 65,536 words in each.
"""
