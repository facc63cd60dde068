"""Benches of `aqa bench`, and the plain implementations that they and the tests compare with."""
