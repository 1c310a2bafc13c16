"""The command `trine`: a server in this process (serve), or one call to a running server through the SDK (all others)."""
