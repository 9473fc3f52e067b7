"""How much of a stream of prompts is served, and how much of that wrongly, by semcache's decision and by others'."""
