"""Other systems on the same work: `python -m bench.peers`."""
