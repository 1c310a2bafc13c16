"""The command `trine`: a server in this process (serve), or one call to a running server through the SDK (all others)."""

import os

# Read when grpc is imported: its core would write lines of its own between our JSON lines, one at each export's fork.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
