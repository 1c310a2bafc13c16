"""Protobuf in, protobuf out, and the HTTP port. Front process, event loop only."""
