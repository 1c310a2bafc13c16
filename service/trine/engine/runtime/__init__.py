"""Numpy to numpy: graphs, the key/value cache, packing and sampling. Text never enters; generation logits leave only to export.verify."""
