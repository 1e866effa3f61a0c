"""Keywords: one second of sound to the word that was said."""
