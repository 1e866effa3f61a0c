"""Second opinions: what other converters make of a network."""
