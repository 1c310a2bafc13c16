"""Benches: what Trine costs beside its peers, measured in one interleaved run. See README.md."""
