"""The story of a request, step by step in call order. `cache.py` tells it; the modules beside it do one step each."""
