"""Forms to write instead of a call that no row supports."""
