"""Processes that are measured: each holds one library and one checkpoint, and answers prompts line by line (see line.py)."""
