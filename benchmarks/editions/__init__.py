"""Which TFLite Micro computes an export's files exactly: packages of its whole history, and builds of C++ trees."""
