"""The TFLite Micro that users have: editions, as data."""
