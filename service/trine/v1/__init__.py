"""Generated from protos/trine/v1 by `make protos`; nobody edits."""
