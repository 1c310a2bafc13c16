"""Who runs next. Knows neither text nor arrays: it moves token ids and opaque sampler states to a runner and back.

The engine process's only thread runs all of it. `queue` holds what waits, `policy` decides in pure functions, `dynamic` batches
the encoder family, `continuous` the generating families, whose `rows` of the cache it keeps compact.
"""
