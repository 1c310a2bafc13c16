"""The parts of the bench of the encoder family; bench/encoders.py runs them."""
