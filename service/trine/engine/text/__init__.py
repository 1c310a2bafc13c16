"""Strings and ids: the tokenizer and the detokenizer. Arrays never enter."""
