"""The server process: gRPC and HTTP in `wire`, what is live in `serving`."""
