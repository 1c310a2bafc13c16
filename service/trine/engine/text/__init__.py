"""Strings and ids: the tokenizer, the detokenizer, and where a text ends. Arrays never enter."""
