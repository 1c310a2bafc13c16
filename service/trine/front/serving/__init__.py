"""What is live: admission, the pool of engines, their supervision, and registration. Knows neither gRPC nor arrays."""
