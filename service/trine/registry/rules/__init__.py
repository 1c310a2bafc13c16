"""What a file from strangers must keep to before any library reads it: pure checks of bytes. Front and export process.

A checkpoint and an artifact that somebody hands us are data from strangers (docs/decisions/0016). Each module is the rules of one
kind of file. They raise UnsafeCheckpoint for what is refused, NotACheckpoint for what is none; a message names the file and the rule.
"""
